package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/doctor"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
)

func newDoctor(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check that backups and promotions would be safe on this host",
		Long: `Check bucket, key, configuration, sources and hooks of this host, and say what would
break: whether the bucket keeps the promises that everything depends on (writes under
a condition, also by many at once; reads and lists that see what was written), what
this host may do there, how fast it is and whether the clocks agree, whether the key
fits, whether the packs of the newest backup are there, whether each source can be
dumped and restored, whether hooks can be run, and whether the application would start
at boot by itself.

It writes small objects below probe/ in the bucket, and a few of up to 4 MiB, and
removes them. It takes some seconds, or as long as a walk through all files that are
backed up: it is looked whether each can be read. Run it as the agent's user.

Exit code 4 when a check of the bucket, the cluster or the key failed, 5 when all that
failed is on this host: the configuration, a source, a hook. Warnings are for you to
judge.`,
		Example: `  understudy doctor

  # which promises does this store break?
  understudy doctor --bucket s3://backups/myapp --json | jq -r '.[] | select(.promise and .result == "failed").name'`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := a.doctor().Examine(cmd.Context())
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			if err := a.printer().Show(found, func(w io.Writer) { showFindings(w, found) }); err != nil {
				return err
			}
			return doctor.Diagnosis(found)
		},
	}
}

// findingKinds are the colours of results.
var findingKinds = map[doctor.Result]terminal.Kind{doctor.Good: terminal.Good, doctor.Warning: terminal.Known, doctor.Bad: terminal.Wrong}

func showFindings(w io.Writer, found []doctor.Finding) {
	var rows [][]any
	for _, f := range found {
		rows = append(rows, []any{f.Name, terminal.Cell{Text: string(f.Result), Kind: findingKinds[f.Result]}, f.Detail})
	}
	terminal.Table(w, []any{"CHECK", "RESULT", "DETAIL"}, rows)
}

// doctor looks at this host.
func (a *app) doctor() *doctor.Examiner {
	e := &doctor.Examiner{Set: a.set, Buckets: a.buckets(), Agent: a.agent, Keep: keepOutput}
	if !a.json && a.std.Redraws(a.std.Err) {
		e.Steps = a.std.Err
	}
	return e
}

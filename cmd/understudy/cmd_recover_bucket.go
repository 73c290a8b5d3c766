package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/names"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/putback"
)

const recoverHelp = `Have the cluster go on from a bucket that was put back to an earlier state: a replica
in another region, a restored copy.

Such a bucket shows an older head than instances have seen. Each of them then holds
still, and says so: the active keeps its application running or stops it, as the fencing
has it; nobody backs up, and nobody can be promoted. If the newer state can be had back,
put it back, and all go on by themselves. If it is gone for good, run this on any
instance that says so.

It shows which backups the bucket lacks, which of them this instance has cached and puts
back, and what else is lost. It asks every other instance what it sees, and is refused
while one of them sees the newer head: then that bucket is still there, and this host
looks at another one. For an instance that cannot be asked it takes your word, with
--without, that it will never see the newer head again; that is recorded.

Then the head begins an epoch above every one that was seen. The active of the newest
head goes on as the active, with all that it has; where it is gone, promote another
instance with --failover. Run it where the newest backup is cached: what the bucket
lacks is put back from there first. Other instances put back what they have afterwards.
What was lost, on whose word, stands in understudy events --cluster.

It is a command of its own, and no way to promote: nobody changes places.`

func newRecoverBucket(a *app) *cobra.Command {
	var r bucketRecovery
	cmd := &cobra.Command{
		Use:   "recover-bucket",
		Short: "Have the cluster go on from a bucket that was put back to an earlier state",
		Long:  recoverHelp,
		Example: `  understudy recover-bucket --dry-run
  understudy recover-bucket --reason "region A is gone, this is its replica"
  understudy recover-bucket --without host-c --yes`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.recoverBucket(cmd.Context(), r) },
	}
	a.addAgentFlag(cmd)
	f := cmd.Flags()
	f.BoolVar(&r.dry, "dry-run", false, "only show what is lost")
	f.BoolVar(&r.yes, "yes", false, "do not ask")
	f.StringArrayVar(&r.without, "without", nil, "name of an instance that cannot be asked, and will never see the newer head again: your word; may be repeated")
	a.completer().flag(cmd, "without", names.Names.Instances)
	f.StringVar(&r.reason, "reason", "", "why, for people")
	return cmd
}

// bucketRecovery is what the command was asked for.
type bucketRecovery struct {
	dry, yes bool
	without  []string
	reason   string
}

func (a *app) recoverBucket(ctx context.Context, r bucketRecovery) error {
	c, err := a.agent()
	if err != nil {
		return err
	}
	const path = "/api/v1/recovery"
	var plan putback.RecoveryPlan
	if err := c.Get(ctx, path+"?"+url.Values{"without": r.without}.Encode(), &plan); err != nil {
		return err
	}
	if !plan.Needed || r.dry {
		return a.printer().Show(plan, func(w io.Writer) { showRecovery(w, plan) })
	}
	if !a.json {
		showRecovery(a.std.Out, plan)
	}
	if plan.Refused != "" {
		return exit.Refusedf("nothing was done: %s", plan.Refused)
	}
	if !r.yes {
		if err := confirmRecovery(ctx, a.printer()); err != nil {
			return err
		}
	}
	req := api.RecoveryRequest{Epoch: plan.Shown.Epoch, Rev: plan.Shown.Rev, Without: r.without, Reason: r.reason}
	if err := c.Do(ctx, http.MethodPost, path, req, &plan); err != nil {
		return err
	}
	return a.printer().Show(plan, func(w io.Writer) {
		fmt.Fprintf(w, "The cluster goes on in epoch %d, with %s as the active, from backup %s.\n", plan.Epoch, plan.Active, known(plan.Newest))
		fmt.Fprintf(w, "Should %s not go on: understudy promote --failover, on another instance.\n", plan.Active)
	})
}

// confirmRecovery asks. Without a terminal it is a usage error.
func confirmRecovery(ctx context.Context, p terminal.Printer) error {
	if !terminal.IsTerminal(p.Std.In) || p.JSON {
		return exit.Usagef("this asks for confirmation, and there is no terminal: say --yes")
	}
	return p.Std.Confirm(ctx, "Go on from the bucket as it is? What it lacks is then lost.", "nothing was done")
}

// showRecovery writes a plan for people.
func showRecovery(w io.Writer, p putback.RecoveryPlan) {
	if !p.Needed {
		fmt.Fprintln(w, "The bucket shows no older head than this instance has seen: there is nothing to recover from.")
		return
	}
	terminal.Facts(w, [][2]string{
		{"Bucket", headLine(p.Shown)},
		{"Seen", headLine(p.Seen)},
		{"Missing", missingLine(p)},
		{"Newest", "would be " + known(p.Newest)},
		{"Active", "would be " + known(p.Active)},
	})
	for _, text := range p.Lost {
		fmt.Fprintf(w, "%-10s %s\n", "Lost", text)
	}
	for _, i := range p.Instances {
		text := i.Sees
		if i.Cached != "" {
			text += "; has cached " + i.Cached
		}
		fmt.Fprintf(w, "%-10s %s: %s\n", "Asked", i.Name, text)
	}
	if p.Refused != "" {
		fmt.Fprintf(w, "%-10s %s\n", "Refused", p.Refused)
	}
}

func headLine(h putback.HeadView) string {
	text := fmt.Sprintf("epoch %d, rev %d, active %s, newest backup %s", h.Epoch, h.Rev, known(h.Active), known(h.Newest))
	if h.Time != nil {
		text += ", written " + terminal.Stamp(*h.Time)
	}
	return text
}

func missingLine(p putback.RecoveryPlan) string {
	switch {
	case p.Missing == 0 && len(p.Cached) == 0:
		return "no backup"
	case len(p.Cached) == 0:
		return fmt.Sprintf("%d backups, none of which is cached here", p.Missing)
	}
	return fmt.Sprintf("%d backups; %d more are cached here and are put back, from %s to %s", p.Missing, len(p.Cached), p.Cached[len(p.Cached)-1], p.Cached[0])
}

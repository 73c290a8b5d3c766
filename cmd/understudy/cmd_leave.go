package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/agent"
)

// leftJSON is what `leave` prints with --json.
type leftJSON struct {
	Instance string `json:"instance"`
	Left     bool   `json:"left"`
	// Settled says how an interrupted restore ended.
	Settled *agent.Settlement `json:"settled,omitempty"`
	// Leftovers are copies of the application's state that could not be deleted.
	Leftovers []leftover `json:"leftovers,omitempty"`
}

type leftover struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"` // negative: not known
	Reason string `json:"reason"`
}

func newLeave(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "leave",
		Short: "Take this host out of its cluster and delete its copies of the state",
		Long: `Take this host out of its cluster: its record goes from the bucket, and every copy of
the application's state that it has as a member is deleted: what is staged beside the
sources (in PostgreSQL too), what was set aside, the cache, and scratch folders. The
application's own state stays, and the log of events. Stop its agent first. The active
cannot leave, nor a host that still owes a salvage backup. A restore that a crash has
interrupted here ends first.

What cannot be deleted is named, and the exit code is 1: the host has left all the
same. Put right what keeps it, and run the command again.`,
		Example: `  systemctl stop understudy && understudy leave`,
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.leave(cmd.Context()) },
	}
}

func (a *app) leave(ctx context.Context) error {
	cfg, _, err := a.instance().Config(ctx)
	if err != nil {
		return err
	}
	left, err := agent.Leave(ctx, cfg)
	if err != nil {
		return err
	}
	result := leftJSON{Instance: cfg.Instance, Left: true, Settled: left.Settled}
	for _, l := range left.Leftovers {
		result.Leftovers = append(result.Leftovers, leftover(l))
	}
	if err := a.printer().Show(result, func(w io.Writer) { showLeft(w, result) }); err != nil {
		return err
	}
	if n := len(result.Leftovers); n > 0 {
		return exit.With(exit.ErrFailed, fmt.Errorf(
			"%s has left its cluster, but %d of its copies could not be deleted (see above): put right what keeps them, and run understudy leave again", cfg.Instance, n))
	}
	return nil
}

func showLeft(w io.Writer, r leftJSON) {
	if r.Settled != nil {
		fmt.Fprintf(w, "First, %v.\n", r.Settled)
	}
	for _, l := range r.Leftovers {
		bytes := ""
		if l.Bytes >= 0 {
			bytes = " (" + terminal.Size(l.Bytes) + ")"
		}
		fmt.Fprintf(w, "Not deleted: %s%s: %s\n", l.Path, bytes, l.Reason)
	}
	if len(r.Leftovers) == 0 {
		fmt.Fprintf(w, "%s has left its cluster, and its copies of the application's state are deleted.\n", r.Instance)
	}
}

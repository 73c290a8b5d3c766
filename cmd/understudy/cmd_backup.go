package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/names"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/control"
)

func newBackup(a *app) *cobra.Command {
	var reason, trigger string
	var noWait, full, accept bool
	cmd := &cobra.Command{
		Use:   "backup [--accept-change [SOURCE]...]",
		Short: "Make a backup now",
		Long: `Make a backup now, on the active, and print its id once it is published. Requests
that come while a backup is being made share the next one.

An application calls it (or POST /api/v1/backups, or the Go package ha/client) with
--trigger task whenever a task completes that must not be lost.

A backup fails when a source lies on another file system than before, or has lost
more than half of its files (of 100 or more), or, a database, all of its tables: what
understudy status lists as changed. Its earlier backup stays the newest. When it is
meant to be so, --accept-change confirms it, for all sources or for those named.

--full reads everything and stores it again, whatever the bucket has: for a bucket in
which something deleted or damaged packs.`,
		Example: `  understudy backup --reason "before the upgrade"
  understudy backup --trigger task --no-wait
  understudy backup --accept-change uploads`,
		Args: arguments(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && !accept {
				return exit.Usagef("backup takes names of sources only with --accept-change: a backup is always one of all sources")
			}
			req := api.BackupRequest{Reason: reason, Trigger: backup.Trigger(trigger), Wait: !noWait, Full: full}
			if req.Trigger != backup.Requested && req.Trigger != backup.Task {
				return exit.Usagef("--trigger %q is neither %s nor %s", trigger, backup.Requested, backup.Task)
			}
			if accept {
				req.AcceptChange = args
				if len(args) == 0 {
					req.AcceptChange = []string{"*"}
				}
			}
			return a.meantOf(cmd.Context(), a.backup(cmd.Context(), req), "sources", names.Names.Sources, args...)
		},
	}
	a.addAgentFlag(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for people")
	cmd.Flags().StringVar(&trigger, "trigger", string(backup.Requested), "request, or task when a task of the application has completed")
	cmd.Flags().BoolVar(&full, "full", false, "read everything again, and refer to no pack of an earlier backup")
	cmd.Flags().BoolVar(&accept, "accept-change", false, "confirm that the sources named, or all, have changed as they should")
	a.completer().flag(cmd, "trigger", fixed(string(backup.Requested), string(backup.Task)))
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until it is published")
	return a.completer().command(cmd, 0, names.Names.Sources)
}

func (a *app) backup(ctx context.Context, req api.BackupRequest) error {
	c, err := a.agent()
	if err != nil {
		return err
	}
	var answer api.BackupAnswer
	err = c.Do(ctx, http.MethodPost, "/api/v1/backups", req, &answer)
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("the backup goes on without you; look for it with understudy backups")
	case err != nil:
		return err
	}
	if !req.Wait {
		return a.printer().Show(answer, func(w io.Writer) { fmt.Fprintln(w, "The backup is requested.") })
	}
	var made control.BackupInfo
	if err := c.Get(ctx, "/api/v1/backups/"+url.PathEscape(answer.ID), &made); err != nil {
		return fmt.Errorf("backup %s is published; describe it: %w", answer.ID, err)
	}
	return a.printer().Show(made.Ref, func(w io.Writer) {
		fmt.Fprintln(w, made.ID)
		took := time.Duration(made.Duration * float64(time.Second))
		a.printer().Note("%s in %s, of which %s new, %s stored.", terminal.Size(made.Size.Logical), terminal.Age(took), terminal.Size(made.Size.New), terminal.Size(made.Size.Stored))
		for _, warning := range warningsOf(made) {
			a.printer().Note("warning: %s", warning)
		}
	})
}

// warningsOf lists what did not go well with a backup.
func warningsOf(b control.BackupInfo) []string {
	all := b.Warnings
	for _, s := range b.Sources {
		for _, w := range s.Warnings {
			all = append(all, s.Name+": "+w)
		}
	}
	return all
}

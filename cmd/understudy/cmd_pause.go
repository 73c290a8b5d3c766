package main

import (
	"net/http"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/api"
)

func newPause(a *app) *cobra.Command {
	var length, until, reason string
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Pause the schedule of backups",
		Long: `Pause the schedule of backups, on the active. One-off backups and switchovers go
on, and so do backups for the log of a PostgreSQL server (postgres_cluster), once an
hour at the least while it writes. It stays paused across restarts, until the time is
over that --for or --until sets, or until understudy resume; another active than this
one is not paused.`,
		Example: `  understudy pause --for 2h --reason "migrating the database"
  understudy pause --until 2026-05-01T06:00:00Z`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, done, err := pauseRequest(length, until, reason)
			if err != nil {
				return err
			}
			return a.tell(cmd.Context(), http.MethodPost, "/api/v1/schedule/pause", req, done)
		},
	}
	a.addAgentFlag(cmd)
	cmd.Flags().StringVar(&length, "for", "", "how long, such as 90m, 2h or 1d")
	cmd.Flags().StringVar(&until, "until", "", "until when instead: 2026-05-01T06:00:00Z, or 2026-05-01 06:00 in this host's time zone")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for people")
	return cmd
}

func pauseRequest(length, until, reason string) (req api.PauseRequest, done string, err error) {
	req = api.PauseRequest{For: length, Reason: reason}
	switch {
	case length != "" && until != "":
		return req, "", exit.Usagef("--for and --until do not go together")
	case length != "":
		d, err := ha.ParseDuration(length)
		if err != nil || d <= 0 {
			return req, "", exit.Usagef("--for %q is not a length of time, such as 90m, 2h or 1d", length)
		}
		return req, "The schedule is paused for " + length + ". Go on earlier with: understudy resume", nil
	case until != "":
		at, err := terminal.ParseTime(until)
		if err != nil {
			return req, "", exit.Usagef("--until: %w", err)
		}
		req.Until = &at
		return req, "The schedule is paused until " + terminal.Stamp(at) + ". Go on earlier with: understudy resume", nil
	}
	return req, "The schedule is paused. Go on with: understudy resume", nil
}

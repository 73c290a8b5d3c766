package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/api"
)

func newPause(a *app) *cobra.Command {
	var length, until, reason string
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Pause the schedule of backups",
		Long: `Pause the schedule of backups, on the active. One-off backups and switchovers go
on. It stays paused across restarts, until the time is over that --for or --until
sets, or until understudy resume; another active than this one is not paused.`,
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
		return req, "", usagef("--for and --until do not go together")
	case length != "":
		d, err := agent.ParseDuration(length)
		if err != nil || d <= 0 {
			return req, "", usagef("--for %q is not a length of time, such as 90m, 2h or 1d", length)
		}
		return req, "The schedule is paused for " + length + ". Go on earlier with: understudy resume", nil
	case until != "":
		at, err := parseTime(until)
		if err != nil {
			return req, "", usagef("--until: %w", err)
		}
		req.Until = &at
		return req, "The schedule is paused until " + stamp(at) + ". Go on earlier with: understudy resume", nil
	}
	return req, "The schedule is paused. Go on with: understudy resume", nil
}

// timeForms are the forms in which people write a time; those without a zone
// are in this host's.
var timeForms = []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly}

func parseTime(text string) (time.Time, error) {
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write it like 2026-05-01T06:00:00Z, or 2026-05-01 06:00 in this host's time zone", text)
}

func newResume(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "resume",
		Short:   "Resume the schedule of backups",
		Long:    `Resume the schedule of backups, on the active.`,
		Example: `  understudy resume`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.tell(cmd.Context(), http.MethodPost, "/api/v1/schedule/resume", nil, "The schedule goes on.")
		},
	}
	a.addAgentFlag(cmd)
	return cmd
}

func newStart(a *app) *cobra.Command {
	var without bool
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start the application of an active that cannot reach the bucket",
		Long: `Start the application of an active that cannot reach the bucket, on your word.

An active that starts, and cannot ask the bucket whether it is still the active,
starts no application: another host may have been promoted meanwhile, and then
two applications would run. With --without-bucket you say that you know better.
It is recorded. As soon as the bucket answers, what it says counts: an active that
has been replaced stops the application and salvages its state.`,
		Example: `  understudy start --without-bucket`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !without {
				return usagef("the agent starts the application by itself as soon as the bucket says that it may; to start it while the bucket cannot be reached: understudy start --without-bucket")
			}
			return a.tell(cmd.Context(), http.MethodPost, "/api/v1/application/start", nil, "The application is being started. See: understudy status")
		},
	}
	a.addAgentFlag(cmd)
	cmd.Flags().BoolVar(&without, "without-bucket", false, "start it although the bucket cannot say whether this host is still the active")
	return cmd
}

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/agentclient"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
)

// watchEvery is how often `status --watch` looks.
const watchEvery = time.Second

func newStatus(a *app) *cobra.Command {
	var watch, check bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show this instance, its cluster, and whether a promotion would work",
		Long: `Show what this instance knows of itself and of its cluster: who is active, what is
backed up and cached, what is wrong, and what a promotion here would do now.

"Healthy." stands below only when there is nothing to tell. What is wrong is listed
under "To look at"; what is not wrong and should be known, as that there is no standby,
or what the newest backup could not keep, under "To know". What is said of the other
instances is as of when their records were read.

--check is for monitoring: the exit code is 0 only when there is nothing to look at.`,
		Example: `  understudy status --watch
  understudy status --check --json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch && check {
				return exit.Usagef("--watch and --check do not go together")
			}
			c, err := a.agent()
			if err != nil {
				return err
			}
			if watch {
				return watchStatus(cmd.Context(), a.printer(), c)
			}
			return a.status(cmd.Context(), c, check)
		},
	}
	a.addAgentFlag(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "go on showing it until interrupted")
	cmd.Flags().BoolVar(&check, "check", false, "exit 1 unless healthy")
	return cmd
}

func (a *app) status(ctx context.Context, c *agentclient.Client, check bool) error {
	var s report.Status
	if err := c.Get(ctx, "/api/v1/status", &s); err != nil {
		return err
	}
	if err := a.printer().Show(s, func(w io.Writer) { showStatus(w, s) }); err != nil {
		return err
	}
	if check && !s.Healthy {
		return exit.With(exit.ErrFailed, fmt.Errorf("not healthy: %s", strings.Join(s.Problems, "; ")))
	}
	return nil
}

// watchStatus shows the status again and again: in place on a terminal, one
// after the other elsewhere. An agent that does not answer is waited for.
func watchStatus(ctx context.Context, p terminal.Printer, c *agentclient.Client) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		var s report.Status
		err := c.Get(ctx, "/api/v1/status", &s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = p.Line(s, func(w io.Writer) { redraw(w, p.Std, func(w io.Writer) { showStatus(w, s) }) })
			if err != nil {
				return err
			}
		} else if p.JSON {
			return err
		} else {
			redraw(p.Std.Out, p.Std, func(w io.Writer) { fmt.Fprintln(w, err) })
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// redraw shows something in place of what was shown before.
func redraw(w io.Writer, std terminal.Streams, show func(io.Writer)) {
	const clearScreen = "\x1b[H\x1b[2J"
	if std.Redraws(std.Out) {
		fmt.Fprint(w, clearScreen)
	}
	fmt.Fprintln(w, terminal.Stamp(time.Now()))
	show(w)
	fmt.Fprintln(w)
}

// statusColumns is how wide a status is at most on a terminal.
const statusColumns = 100

// showStatus writes a status for people.
func showStatus(w io.Writer, s report.Status) {
	w = terminal.Within(w, statusColumns)
	terminal.Facts(w, [][2]string{
		{"Instance", fmt.Sprintf("%s: %s, epoch %d, application %s", s.Instance, s.State, s.Epoch, known(s.App))},
		{"Cluster", s.Cluster},
		{"Active", activeLine(s)},
		{"Bucket", bucketLine(s)},
		{"Newest", newestLine(s)},
		{"Rehearsal", rehearsalLine(s)},
		{"Streams", streamsLine(s)},
		{"Next", nextLine(s)},
		{"Work", workLine(s)},
		{"Promotion", s.Outlook},
		{"Waits", waitsLine(s)},
		{"Failover", failoverLine(s)},
	})
	fmt.Fprintln(w)
	showStates(w, s.Instances)
	if s.InstancesAge >= tellAge {
		fmt.Fprintf(w, "The others as of %s ago.\n", terminal.InSeconds(s.InstancesAge))
	}
	fmt.Fprintln(w)
	showVerdict(w, s)
}

// tellAge is from how many seconds on the table of instances is said to be of
// before.
const tellAge = 3

// showVerdict says how it is, in the agent's own judgement.
func showVerdict(w io.Writer, s report.Status) {
	list := func(kind terminal.Kind, heading string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintln(w, terminal.Paint(w, kind, heading))
		}
		for _, line := range lines {
			terminal.Hanging(w, terminal.Plain, "  - ", line)
		}
	}
	list(terminal.Wrong, "To look at:", s.Problems)
	switch {
	case s.Verdict == report.VerdictHealthy:
		fmt.Fprintln(w, terminal.Paint(w, terminal.Good, "Healthy."))
	case s.Healthy:
		list(terminal.Known, "Nothing is wrong. To know:", s.Caveats)
	default:
		list(terminal.Known, "To know:", s.Caveats)
	}
}

// waitsLine says what a promotion or a handover that is under way waits for.
func waitsLine(s report.Status) string {
	if s.Waiting == nil {
		return ""
	}
	return "for " + s.Waiting.String()
}

// failoverLine says what nearly all of a failover's time would be.
func failoverLine(s report.Status) string {
	if s.FailoverWait == nil || s.Promotion != nil {
		return ""
	}
	return "would wait for " + s.FailoverWait.String()
}

func known(s string) string {
	if s == "" {
		return "not known"
	}
	return s
}

func activeLine(s report.Status) string {
	switch {
	case s.Active == "":
		return "not known"
	case s.Role == ha.RoleActive && s.Refused == "":
		return s.Active + " (this instance)"
	case s.Head != nil && s.Head.Stopped:
		return fmt.Sprintf("%s, has ended in good order, with its application (seen %s ago)", s.Active, terminal.InSeconds(s.HeadAge))
	case !s.HeadSeen:
		return fmt.Sprintf("%s, not seen alive in the %s since this agent looks", s.Active, terminal.InSeconds(s.HeadAge))
	}
	return fmt.Sprintf("%s, last seen %s ago", s.Active, terminal.InSeconds(s.HeadAge))
}

func bucketLine(s report.Status) string {
	if s.Bucket != "ok" {
		return fmt.Sprintf("%s (for %s)", s.Bucket, terminal.InSeconds(s.BucketFailing))
	}
	return fmt.Sprintf("ok, clock %+.1fs from this host's", s.ClockSkew)
}

func newestLine(s report.Status) string {
	if s.LastBackup == nil {
		return "no backup yet"
	}
	return fmt.Sprintf("%s, %s old; %d cached here", s.LastBackup.ID, terminal.InSeconds(s.LastBackupAge), len(s.Cached))
}

func nextLine(s report.Status) string {
	switch {
	case s.Paused != nil:
		return "no backup: " + pausedLine(s)
	case s.NextBackup < 0:
		return ""
	}
	return "backup in " + terminal.InSeconds(s.NextBackup)
}

// pausedLine says who paused the schedule, why and for how long.
func pausedLine(s report.Status) string {
	text := fmt.Sprintf("paused by %s since %s", s.Paused.By, terminal.Stamp(s.Paused.Since))
	if s.Paused.Reason != "" {
		text += " (" + s.Paused.Reason + ")"
	}
	if s.Paused.Until == nil {
		return text + ", until understudy resume"
	}
	return fmt.Sprintf("%s, until %s (for another %s)", text, terminal.Stamp(*s.Paused.Until), terminal.InSeconds(s.PauseLeft))
}

func workLine(s report.Status) string {
	switch {
	case s.Progress != nil && s.Progress.Total > 0:
		return fmt.Sprintf("%s: %s, %s of %s", s.Work, s.Progress.Step, terminal.Size(s.Progress.Done), terminal.Size(s.Progress.Total))
	case s.Progress != nil && s.Progress.Done > 0:
		return fmt.Sprintf("%s: %s, %s", s.Work, s.Progress.Step, terminal.Size(s.Progress.Done))
	}
	return s.Work
}

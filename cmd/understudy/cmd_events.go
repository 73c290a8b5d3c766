package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/agentclient"
	"github.com/understudy-ha/understudy/cmd/understudy/buckets"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/names"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/client"
	"github.com/understudy-ha/understudy/ha/event"
)

// eventsFlags choose which events are shown.
type eventsFlags struct {
	cluster, follow bool
	limit           int
	kinds, levels   []string
	since           string
}

func newEvents(a *app) *cobra.Command {
	var f eventsFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what has happened on this instance, or to the cluster",
		Long: `Show what has happened on this instance, oldest first: who did what, what the agent
did, and what went wrong. With --json it is a list, or, with --follow, one object on
each line. --follow goes on when the agent is started again.

--cluster shows what has happened to the cluster instead: backups, promotions,
demotions, salvages, who asked for them and why. It is the same on every instance,
because it is read, and verified, from what is in the bucket.

` + kindsHelp(),
		Example: `  understudy events --follow
  understudy events --since 2d --kinds promotion,config
  understudy events --cluster`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := meant(a.events(f).show(cmd.Context()), "kinds of events", names.Kinds(), f.kinds...)
			return meant(err, "levels", names.Levels(), f.levels...)
		},
	}
	a.addAgentFlag(cmd)
	cmd.Flags().BoolVar(&f.cluster, "cluster", false, "show what has happened to the cluster, from the bucket")
	cmd.Flags().BoolVar(&f.follow, "follow", false, "go on showing events as they happen")
	cmd.Flags().IntVar(&f.limit, "limit", 100, "how many past events to show at most, the newest")
	cmd.Flags().StringSliceVar(&f.kinds, "kinds", nil, "show these kinds only, such as promotion,backup")
	cmd.Flags().StringSliceVar(&f.levels, "levels", nil, "show these levels only: info, warn, alarm")
	a.completer().flag(cmd, "kinds", fixed(names.Kinds()...))
	a.completer().flag(cmd, "levels", fixed(names.Levels()...))
	cmd.Flags().StringVar(&f.since, "since", "", "show what happened since then: 2h, 3d, or a time like 2026-05-01T06:00:00Z")
	return cmd
}

func kindsHelp() string {
	var b strings.Builder
	b.WriteString("Kinds of events:\n")
	for _, k := range event.Kinds {
		fmt.Fprintf(&b, "\n  %-13s %s", k.Name, k.About)
	}
	return b.String()
}

// query is what the flags ask the agent for.
func (f eventsFlags) query(now time.Time) (url.Values, error) {
	if f.limit < 0 || f.limit > 1000 {
		return nil, exit.Usagef("--limit %d is not from 0 to 1000", f.limit)
	}
	q := url.Values{"limit": {strconv.Itoa(f.limit)}}
	if len(f.kinds) > 0 {
		q.Set("kind", strings.Join(f.kinds, ","))
	}
	if len(f.levels) > 0 {
		q.Set("level", strings.Join(f.levels, ","))
	}
	if f.since != "" {
		at, err := since(f.since, now)
		if err != nil {
			return nil, exit.Usagef("--since: %w", err)
		}
		q.Set("since", at.UTC().Format(time.RFC3339))
	}
	return q, nil
}

// since is a time, or one so long ago.
func since(text string, now time.Time) (time.Time, error) {
	if d, err := ha.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	at, err := terminal.ParseTime(text)
	if err != nil {
		err = fmt.Errorf("%q is neither a length of time like 2h or 3d nor a time like 2026-05-01T06:00:00Z", text)
	}
	return at, err
}

// eventsView shows events of an agent, or the audit log.
type eventsView struct {
	eventsFlags
	printer terminal.Printer
	agent   func() (*agentclient.Client, error)
	buckets buckets.Reader
	older   *buckets.OlderHead
}

func (a *app) events(f eventsFlags) *eventsView {
	return &eventsView{eventsFlags: f, printer: a.printer(), agent: a.agent, buckets: a.buckets(), older: &a.older}
}

func (v *eventsView) show(ctx context.Context) error {
	if v.cluster {
		return v.history(ctx)
	}
	q, err := v.query(time.Now())
	if err != nil {
		return err
	}
	c, err := v.agent()
	if err != nil {
		return err
	}
	if v.follow {
		return v.followEvents(ctx, c, q)
	}
	var past api.Events
	if err := c.Get(ctx, eventsPath(q), &past); err != nil {
		return err
	}
	return v.printer.Show(past.Events, func(w io.Writer) {
		for _, e := range past.Events {
			showEvent(w, e)
		}
	})
}

func eventsPath(q url.Values) string { return "/api/v1/events?" + q.Encode() }

// askAgain is how long after an agent has stopped it is looked for again.
const askAgain = time.Second

// followEvents shows events until it is told to stop: beyond the end of an
// agent too, whose successor tells what came after.
func (v *eventsView) followEvents(ctx context.Context, c *agentclient.Client, q url.Values) error {
	answered, told := false, false
	show := func(sent client.Event) error {
		answered, told = true, false
		var e event.Event
		if err := json.Unmarshal(sent.Data, &e); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		q.Set("after", strconv.FormatUint(e.ID, 10))
		return v.printer.Line(e, func(w io.Writer) { showEvent(w, e) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		err := c.Stream(ctx, eventsPath(q), show)
		switch {
		case ctx.Err() != nil:
			return err
		case err == nil:
			answered, told = true, false
		case !answered || !agentclient.IsGone(err):
			return err
		}
		if !told {
			fmt.Fprintf(v.printer.Std.Err, "The agent at %s has stopped. Waiting for it …\n", c.Where())
			told = true
		}
		timer.Reset(askAgain)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// levelKinds are the colours of levels.
var levelKinds = map[event.Level]terminal.Kind{event.Warn: terminal.Known, event.Alarm: terminal.Wrong}

func showEvent(w io.Writer, e event.Event) {
	by := ""
	if e.By != "" && !strings.Contains(e.Text, e.By) {
		by = "  [" + e.By + "]"
	}
	level := terminal.Paint(w, levelKinds[e.Level], fmt.Sprintf("%-5s", e.Level))
	fmt.Fprintf(w, "%s  %s  %-11s  %s%s\n", terminal.Stamp(e.Time), level, e.Kind, e.Text, by)
}

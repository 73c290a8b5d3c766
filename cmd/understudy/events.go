package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/client"
	"github.com/understudy-ha/understudy/ha/event"
)

func newEvents(a *app) *cobra.Command {
	var follow bool
	var limit int
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what has happened on this instance",
		Long: `Show what has happened on this instance, oldest first. With --json it is a list, or,
with --follow, one object on each line.`,
		Example: `  understudy events --follow`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 || limit > 1000 {
				return usagef("--limit %d is not from 0 to 1000", limit)
			}
			c, err := a.agent()
			if err != nil {
				return err
			}
			path := "/api/v1/events?" + url.Values{"limit": {strconv.Itoa(limit)}}.Encode()
			if follow {
				return a.followEvents(cmd.Context(), c, path)
			}
			return a.events(cmd.Context(), c, path)
		},
	}
	a.addAgentFlag(cmd)
	cmd.Flags().BoolVar(&follow, "follow", false, "go on showing events as they happen")
	cmd.Flags().IntVar(&limit, "limit", 100, "how many past events to show at most, the newest")
	return cmd
}

func (a *app) events(ctx context.Context, c *agentClient, path string) error {
	var past api.Events
	if err := c.get(ctx, path, &past); err != nil {
		return err
	}
	return a.printer().show(past.Events, func(w io.Writer) {
		for _, e := range past.Events {
			showEvent(w, e)
		}
	})
}

func (a *app) followEvents(ctx context.Context, c *agentClient, path string) error {
	err := c.stream(ctx, path, func(sent client.Event) error {
		var e event.Event
		if err := json.Unmarshal(sent.Data, &e); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		return a.printer().line(e, func(w io.Writer) { showEvent(w, e) })
	})
	if err == nil {
		err = &kindError{kind: errFailed, err: fmt.Errorf("the agent at %s has stopped", c.where)}
	}
	return err
}

func showEvent(w io.Writer, e event.Event) {
	fmt.Fprintf(w, "%s  %-5s  %-10s  %s\n", stamp(e.Time), e.Level, e.Kind, e.Text)
}

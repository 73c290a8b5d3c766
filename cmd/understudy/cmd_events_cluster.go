package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/control"
)

// history shows what has happened to the cluster, oldest first, as
// events are shown.
func (v *eventsView) history(ctx context.Context) error {
	if v.follow || len(v.kinds) > 0 || len(v.levels) > 0 || v.since != "" {
		return exit.Usagef("--cluster goes with --limit alone")
	}
	if v.limit < 1 || v.limit > 1000 {
		return exit.Usagef("--limit %d is not from 1 to 1000", v.limit)
	}
	page, err := v.historyPage(ctx, v.limit)
	if err != nil {
		return err
	}
	v.older.Tell(v.printer, page.OlderHead)
	slices.Reverse(page.Events)
	return v.printer.Show(page.Events, func(w io.Writer) {
		for _, e := range page.Events {
			showClusterEvent(w, e)
		}
	})
}

// historyPage asks the agent, or, where none runs on this host, the bucket.
func (v *eventsView) historyPage(ctx context.Context, limit int) (page control.ClusterHistory, err error) {
	c, err := v.agent()
	if err != nil {
		return page, err
	}
	err = c.Get(ctx, "/api/v1/history?"+url.Values{"limit": {strconv.Itoa(limit)}}.Encode(), &page)
	if !c.Instead(err) {
		return page, err
	}
	_, bucket, err := v.buckets.Look(ctx)
	if err != nil {
		return page, err
	}
	return bucket.AuditLog().Page(ctx, "", limit)
}

func showClusterEvent(w io.Writer, e control.ClusterEvent) {
	fmt.Fprintf(w, "%s  epoch %-3d  %-10s  %s", terminal.Stamp(e.Time), e.Epoch, e.Kind, e.Text)
	if e.By != "" {
		fmt.Fprintf(w, "; asked by %s", e.By)
	}
	if e.Reason != "" {
		fmt.Fprintf(w, ": %s", e.Reason)
	}
	fmt.Fprintln(w)
}

package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/control"
)

// clusterHistory shows what has happened to the cluster, oldest first, as
// events are shown.
func (a *app) clusterHistory(ctx context.Context, f eventsFlags) error {
	if f.follow || len(f.kinds) > 0 || len(f.levels) > 0 || f.since != "" {
		return exit.Usagef("--cluster goes with --limit alone")
	}
	if f.limit < 1 || f.limit > 1000 {
		return exit.Usagef("--limit %d is not from 1 to 1000", f.limit)
	}
	page, err := a.historyPage(ctx, f.limit)
	if err != nil {
		return err
	}
	a.tellOlder(page.OlderHead)
	slices.Reverse(page.Events)
	return a.printer().show(page.Events, func(w io.Writer) {
		for _, e := range page.Events {
			showClusterEvent(w, e)
		}
	})
}

// historyPage asks the agent, or, where none runs on this host, the bucket.
func (a *app) historyPage(ctx context.Context, limit int) (page control.ClusterHistory, err error) {
	c, err := a.agent()
	if err != nil {
		return page, err
	}
	err = c.get(ctx, "/api/v1/history?"+url.Values{"limit": {strconv.Itoa(limit)}}.Encode(), &page)
	if !a.instead(err) {
		return page, err
	}
	_, bucket, err := a.look(ctx)
	if err != nil {
		return page, err
	}
	return bucket.AuditLog().Page(ctx, "", limit)
}

func showClusterEvent(w io.Writer, e control.ClusterEvent) {
	fmt.Fprintf(w, "%s  epoch %-3d  %-10s  %s", stamp(e.Time), e.Epoch, e.Kind, e.Text)
	if e.By != "" {
		fmt.Fprintf(w, "; asked by %s", e.By)
	}
	if e.Reason != "" {
		fmt.Fprintf(w, ": %s", e.Reason)
	}
	fmt.Fprintln(w)
}

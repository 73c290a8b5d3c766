package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/names"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/report"
)

func newInstances(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "instances",
		Short:   "Show the cluster's instances, add or remove one",
		Long:    `Show the cluster's instances, as their records in the bucket tell.`,
		Example: `  understudy instances`,
		Args:    subcommandOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.agent()
			if err != nil {
				return err
			}
			var t api.Instances
			if err := c.Get(cmd.Context(), "/api/v1/instances", &t); err != nil {
				return err
			}
			return a.printer().Show(t.Instances, func(w io.Writer) { showInstances(w, t.Instances) })
		},
	}
	a.addAgentFlag(cmd)
	cmd.AddCommand(newInstancesAdd(a), newInstancesRemove(a))
	return cmd
}

func newInstancesAdd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add URL",
		Short: "Register an instance's URL ahead of its join",
		Long: `Register the URL of an instance ahead of its join, so that it is notified from the
start. It is done on the active. An instance that joins registers itself: add is
rarely needed.`,
		Example: `  understudy instances add https://host-c:7878`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.tell(cmd.Context(), http.MethodPost, "/api/v1/instances", api.Member{URL: args[0]}, args[0]+" is registered.")
		},
	}
	a.addAgentFlag(cmd)
	return cmd
}

func newInstancesRemove(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove an instance from the cluster",
		Long: `Remove an instance, by its name or, before it has joined, by its URL. It is done on
the active. A removed instance is refused until it joins again.`,
		Example: `  understudy instances remove host-c`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.tell(cmd.Context(), http.MethodDelete, "/api/v1/instances/"+url.PathEscape(args[0]), nil, args[0]+" is removed.")
			return a.meantOf(cmd.Context(), err, "instances", names.Names.Instances, args[0])
		},
	}
	a.addAgentFlag(cmd)
	return a.completer().command(cmd, 1, names.Names.Instances)
}

// doneJSON is what commands print with --json that have nothing else to tell.
type doneJSON struct {
	Done bool `json:"done"`
}

// tell has the agent do something that has no answer.
func (a *app) tell(ctx context.Context, method, path string, in any, done string) error {
	c, err := a.agent()
	if err != nil {
		return err
	}
	if err := c.Do(ctx, method, path, in, nil); err != nil {
		return err
	}
	return a.printer().Show(doneJSON{Done: true}, func(w io.Writer) { fmt.Fprintln(w, done) })
}

// showInstances writes the table of instances, with all that is known of them.
func showInstances(w io.Writer, all []report.InstanceStatus) {
	var rows [][]any
	for _, i := range all {
		rows = append(rows, append(instanceRow(i), i.URL, terminal.Cell{Text: i.LastError, Kind: terminal.Wrong}))
	}
	terminal.Table(w, append(instanceHeadings(), "URL", "LAST ERROR"), rows)
}

// showStates writes how the instances are, and what has failed there below.
func showStates(w io.Writer, all []report.InstanceStatus) {
	var rows [][]any
	for _, i := range all {
		rows = append(rows, instanceRow(i))
	}
	terminal.Table(w, instanceHeadings(), rows)
	for _, i := range all {
		if i.LastError != "" {
			terminal.Hanging(w, terminal.Wrong, "  ", nameOf(i)+": "+i.LastError)
		}
	}
}

func instanceHeadings() []any {
	return []any{"INSTANCE", "ROLE", "STATE", "CACHED", "REHEARSED", "LAG", "LAST SEEN"}
}

func instanceRow(i report.InstanceStatus) []any {
	name := nameOf(i)
	if i.Self {
		name += " *"
	}
	lag := "-"
	if i.Lag >= 0 {
		lag = terminal.InSeconds(i.Lag)
	}
	seen := "now"
	if !i.Self {
		seen = "-"
		if i.LastSeen != nil {
			seen = terminal.Stamp(*i.LastSeen)
		}
	}
	return []any{name, known(string(i.Role)), stateCell(i), len(i.Cached), rehearsed(i.Rehearsals), lag, seen}
}

// nameOf is an instance's name or, before it has one, its URL.
func nameOf(i report.InstanceStatus) string {
	switch {
	case i.Name != "":
		return i.Name
	case i.URL != "":
		return i.URL
	}
	return "-"
}

// stateCell has the colour of how an instance is.
func stateCell(i report.InstanceStatus) terminal.Cell {
	kind := terminal.Known
	switch i.State {
	case report.StateActive, report.StateInSync:
		kind = terminal.Good
	case report.StateRehearsalFailed, report.StateUnreachable, report.StateRefused, report.StateBlocked:
		kind = terminal.Wrong
	}
	return terminal.Cell{Text: i.State, Kind: kind}
}

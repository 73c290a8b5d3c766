package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/names"
	"github.com/understudy-ha/understudy/ha/api"
)

func newAcceptChange(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "accept-change [SOURCE]...",
		Short: "Confirm that sources have changed as they should",
		Long: `Confirm that sources, all or those named, have changed as they should. What has
changed is in understudy status.

On a standby nothing is restored to where another file system is mounted than before,
or none: with this command the one that is there now is the right one, and what was
staged is staged again there. On the active the next backup takes the sources as they
are; understudy backup --accept-change makes one at once.`,
		Example: `  understudy accept-change uploads`,
		Args:    arguments(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.agent()
			if err != nil {
				return err
			}
			var answer api.AcceptAnswer
			if err := c.Do(cmd.Context(), http.MethodPost, "/api/v1/sources/accept", api.AcceptRequest{Sources: args}, &answer); err != nil {
				return a.meantOf(cmd.Context(), err, "sources", names.Names.Sources, args...)
			}
			return a.printer().Show(answer, func(w io.Writer) {
				if len(answer.Accepted) == 0 {
					fmt.Fprintln(w, "No change is known; sources are taken as they are now.")
				}
				for _, c := range answer.Accepted {
					fmt.Fprintf(w, "Confirmed: source %s: %s\n", c.Source, c.What)
				}
			})
		},
	}
	a.addAgentFlag(cmd)
	return a.completer().command(cmd, 0, names.Names.Sources)
}

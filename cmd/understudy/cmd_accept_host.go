package main

import (
	"fmt"
	"io"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/event"
)

// acceptedJSON is what `accept-host` prints with --json.
type acceptedJSON struct {
	Instance string `json:"instance"`
	Accepted bool   `json:"accepted"`
}

func newAcceptHost(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "accept-host",
		Short: "Accept a data folder that was moved to this host",
		Long: `Accept a data folder that was moved to this host, or put back here on purpose.

A data folder knows the file that its journal lies in, and its host. An agent that
finds itself with a copy, on another host or with a folder that was put back, is
refused: its application stays stopped, and its state is kept as a salvage backup
where no other backup may have it. With this command you say that the original of
the data folder runs nowhere. Stop the agent first, and start it again afterwards.
It is recorded. Whether this host may go on as the active the bucket decides.`,
		Example: `  systemctl stop understudy && understudy accept-host && systemctl start understudy`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.instance().Member(cmd.Context())
			if err != nil {
				return err
			}
			accepted, err := agent.AcceptHost(event.WithActor(cmd.Context(), commandActor()), cfg)
			if err != nil {
				return err
			}
			return a.printer().Show(acceptedJSON{Instance: cfg.Instance, Accepted: accepted}, func(w io.Writer) {
				if !accepted {
					fmt.Fprintf(w, "The data folder of %s has not been moved: there is nothing to accept.\n", cfg.Instance)
					return
				}
				fmt.Fprintf(w, "The data folder of %s is accepted on this host. Start it with: understudy serve\n", cfg.Instance)
			})
		},
	}
}

// commandActor is on whose word a command acts that asks no agent.
func commandActor() string {
	if u, err := user.Current(); err == nil {
		return fmt.Sprintf("command (uid %s %s)", u.Uid, u.Username)
	}
	return fmt.Sprintf("command (uid %d)", os.Getuid())
}

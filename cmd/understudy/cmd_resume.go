package main

import (
	"net/http"

	"github.com/spf13/cobra"
)

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

package main

import (
	"net/http"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

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
				return exit.Usagef("the agent starts the application by itself as soon as the bucket says that it may; to start it while the bucket cannot be reached: understudy start --without-bucket")
			}
			return a.tell(cmd.Context(), http.MethodPost, "/api/v1/application/start", nil, "The application is being started. See: understudy status")
		},
	}
	a.addAgentFlag(cmd)
	cmd.Flags().BoolVar(&without, "without-bucket", false, "start it although the bucket cannot say whether this host is still the active")
	return cmd
}

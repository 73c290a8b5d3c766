package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/sample"
)

// demoApp is how this program becomes the demo's application.
var demoApp = []string{"demo", "app"}

// newDemoApp is the sample application as a hidden part of this program, so
// that the demo needs nothing but the one file that a user has downloaded. It
// reads its own flags.
func newDemoApp(a *app) *cobra.Command {
	return &cobra.Command{
		Use:                "app",
		Short:              "The demo's application",
		Example:            "  understudy demo app start --data /tmp/look",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := sample.Run(cmd.Context(), demoApp, args, a.std.out, a.std.err)
			switch {
			case errors.Is(err, sample.ErrUsage):
				return &kindError{kind: errUsage, err: err}
			case errors.Is(err, sample.ErrNotRunning):
				return &kindError{kind: errRefused, err: err}
			}
			return err
		},
	}
}

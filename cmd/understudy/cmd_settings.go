package main

import (
	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/settings"
)

// newSettings is no command but a page of help: what every command may be told.
func newSettings() *cobra.Command {
	return &cobra.Command{
		Use:   "settings",
		Short: "What every command may be told by flag, variable or file",
		Long: `Every command takes these settings of this host. A flag wins over the variable in the
environment, that over the one in ` + settings.EnvironmentPath + `, which is read as
systemd reads it for the service; what was entered at the set-up comes after that, and
then the default. --environment-file names another file, or none.

The shared key and the admin token have no flags, so that they appear in no process
list. Results are for people; --json prints them with stable field names instead.

` + settings.Help(),
	}
}

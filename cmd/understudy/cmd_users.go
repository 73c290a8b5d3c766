package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/names"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/api"
)

func newUsers(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "users",
		Short: "Show who may sign in to the console, add or remove a user",
		Long: `Show who may sign in to the console. Users belong to the cluster: the same name and
password sign in on every instance, whichever is the active.`,
		Example: `  understudy users`,
		Args:    subcommandOnly,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listUsers(cmd.Context()) },
	}
	a.addAgentFlag(cmd)
	list := &cobra.Command{
		Use: "list", Short: "Show who may sign in to the console", Example: `  understudy users list --json`,
		Args: arguments(cobra.NoArgs), RunE: func(cmd *cobra.Command, _ []string) error { return a.listUsers(cmd.Context()) },
	}
	a.addAgentFlag(list)
	cmd.AddCommand(list, newUsersAdd(a), newUsersRemove(a), newUsersPassword(a))
	return cmd
}

func (a *app) listUsers(ctx context.Context) error {
	c, err := a.agent()
	if err != nil {
		return err
	}
	var all api.Users
	if err := c.Get(ctx, "/api/v1/users", &all); err != nil {
		return err
	}
	return a.printer().Show(all.Users, func(w io.Writer) {
		var rows [][]any
		for _, u := range all.Users {
			rows = append(rows, []any{u.Name, u.Role})
		}
		terminal.Table(w, []any{"USER", "ROLE"}, rows)
	})
}

func newUsersAdd(a *app) *cobra.Command {
	var file, role string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Let somebody sign in to the console",
		Long: `Let somebody sign in to the console, on every instance. It is done on the active. An
admin may do everything, a viewer may look at everything and change nothing; the
first user is an admin.

` + passwordHelp,
		Example: `  understudy users add alice
  pwgen -s 20 1 | tee /dev/tty | understudy users add bob --role viewer --password-file -`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			u := api.NewUser{Name: args[0], Role: account.Role(role)}
			if err := account.Check(u.Name, u.Role); err != nil {
				return exit.Usagef("%s", strings.TrimPrefix(err.Error(), "invalid: "))
			}
			var err error
			if u.Password, err = a.std.Password(cmd.Context(), file, account.MaxPassword); err != nil {
				return err
			}
			return a.tell(cmd.Context(), http.MethodPost, "/api/v1/users", u, fmt.Sprintf("%s may sign in (%s).", u.Name, u.Role))
		},
	}
	cmd.Flags().StringVar(&role, "role", string(account.Admin), "admin or viewer")
	a.completer().flag(cmd, "role", fixed(string(account.Admin), string(account.Viewer)))
	addPasswordFile(cmd, &file)
	a.addAgentFlag(cmd)
	return cmd
}

func newUsersRemove(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Keep somebody from signing in",
		Long: `Remove a user, whose sessions end on every instance. It is done on the active. The
last admin cannot be removed.`,
		Example: `  understudy users remove bob`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := a.tell(cmd.Context(), http.MethodDelete, "/api/v1/users/"+url.PathEscape(args[0]), nil, args[0]+" is removed.")
			return a.meantOf(cmd.Context(), err, "users", names.Names.Users, args[0])
		},
	}
	a.addAgentFlag(cmd)
	return a.completer().command(cmd, 1, names.Names.Users)
}

func newUsersPassword(a *app) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "password NAME",
		Short: "Change a user's password",
		Long: `Change a user's password, which ends the user's sessions on every instance. It is
done on the active.

` + passwordHelp,
		Example: `  understudy users password alice`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := a.std.Password(cmd.Context(), file, account.MaxPassword)
			if err != nil {
				return err
			}
			err = a.tell(cmd.Context(), http.MethodPut, "/api/v1/users/"+url.PathEscape(args[0])+"/password", api.NewPassword{Password: password}, "The password of "+args[0]+" is changed.")
			return a.meantOf(cmd.Context(), err, "users", names.Names.Users, args[0])
		},
	}
	addPasswordFile(cmd, &file)
	a.addAgentFlag(cmd)
	return a.completer().command(cmd, 1, names.Names.Users)
}

const passwordHelp = `The password is asked for on a terminal, twice and without an echo, or is the first
line of --password-file (- for standard input). It has at least 10 characters.`

func addPasswordFile(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "password-file", "", "file with the password, or - for standard input")
}

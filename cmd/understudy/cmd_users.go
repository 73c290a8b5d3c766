package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
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
	if err := c.get(ctx, "/api/v1/users", &all); err != nil {
		return err
	}
	return a.printer().show(all.Users, func(w io.Writer) {
		var rows [][]any
		for _, u := range all.Users {
			rows = append(rows, []any{u.Name, u.Role})
		}
		table(w, []any{"USER", "ROLE"}, rows)
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
			if u.Password, err = a.password(cmd.Context(), file); err != nil {
				return err
			}
			return a.tell(cmd.Context(), http.MethodPost, "/api/v1/users", u, fmt.Sprintf("%s may sign in (%s).", u.Name, u.Role))
		},
	}
	cmd.Flags().StringVar(&role, "role", string(account.Admin), "admin or viewer")
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
			return a.tell(cmd.Context(), http.MethodDelete, "/api/v1/users/"+url.PathEscape(args[0]), nil, args[0]+" is removed.")
		},
	}
	a.addAgentFlag(cmd)
	return cmd
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
			password, err := a.password(cmd.Context(), file)
			if err != nil {
				return err
			}
			return a.tell(cmd.Context(), http.MethodPut, "/api/v1/users/"+url.PathEscape(args[0])+"/password", api.NewPassword{Password: password}, "The password of "+args[0]+" is changed.")
		},
	}
	addPasswordFile(cmd, &file)
	a.addAgentFlag(cmd)
	return cmd
}

const passwordHelp = `The password is asked for on a terminal, twice and without an echo, or is the first
line of --password-file (- for standard input). It has at least 10 characters.`

func addPasswordFile(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "password-file", "", "file with the password, or - for standard input")
}

// password reads a new password from a file, or asks for it on a terminal.
func (a *app) password(ctx context.Context, file string) (string, error) {
	if file == "" {
		return a.askPassword(ctx)
	}
	in := a.std.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", exit.Usagef("open password file: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, account.MaxPassword+2))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	password := strings.TrimSuffix(string(line), "\r")
	if password == "" {
		return "", exit.Usagef("there is no password in the first line of --password-file %s", file)
	}
	return password, nil
}

// askPassword asks twice. While it waits nothing is shown of what is typed.
func (a *app) askPassword(ctx context.Context) (string, error) {
	f, ok := a.std.in.(*os.File)
	if !ok || !isTerminal(f) {
		return "", exit.Usagef("there is no terminal to ask for the password on: give it with --password-file FILE, or - for standard input")
	}
	state, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("look at the terminal: %w", err)
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(a.std.err, prompt)
		defer fmt.Fprintln(a.std.err)
		type read struct {
			text []byte
			err  error
		}
		done := make(chan read, 1)
		go func() {
			text, err := term.ReadPassword(int(f.Fd()))
			done <- read{text, err}
		}()
		select {
		case got := <-done:
			return string(got.text), got.err
		case <-ctx.Done(): // the read is left behind, the echo is not
			return "", errors.Join(ctx.Err(), term.Restore(int(f.Fd()), state))
		}
	}
	password, err := ask("Password: ")
	if err != nil {
		return "", err
	}
	again, err := ask("The same again: ")
	if err == nil && again != password {
		err = exit.Usagef("the two are not the same")
	}
	return password, err
}

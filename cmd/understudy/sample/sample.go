// Package sample is a small real application to be backed up: `understudy
// demo`, docker-compose.yml and the end-to-end tests run it beside Understudy.
//
// It writes without a pause. Every commit is a row with a serial number, a
// random payload and the payload's SHA-256, in SQLite or PostgreSQL, and a file
// with the same payload in an upload folder. Only when row and file are durable
// does the serial go into a ledger outside the backed-up state; so whoever
// watches knows exactly what was acknowledged, and check tells what is missing.
//
//	sample run      run in the foreground until SIGTERM
//	sample start    run in the background; returns when it serves; a promote hook
//	sample stop     stop it; returns when it is gone; a demote hook
//	sample status   exit 0 while it runs, 3 while it does not
//	sample quiesce  hold commits; a pre-backup hook
//	sample resume   go on; a post-backup hook
//	sample check    verify all data and print the findings as JSON
//
// start, stop, quiesce and resume are idempotent.
package sample

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes of Main besides 0 and 1.
const (
	exitUsage      = 2
	exitNotRunning = 3 // as init scripts do
)

// What Run's errors are, besides plain failures. Test with errors.Is.
var (
	ErrUsage      = errors.New("usage")
	ErrNotRunning = errors.New("not running")
	ErrDamaged    = errors.New("data is damaged or missing")
)

// Main is the program "sample": it runs one subcommand until that is done or a
// signal comes, says on stderr what went wrong, and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := Run(ctx, nil, args, stdout, stderr)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "sample:", err)
	switch {
	case errors.Is(err, ErrUsage):
		return exitUsage
	case errors.Is(err, ErrNotRunning):
		return exitNotRunning
	default:
		return 1
	}
}

// Run runs one subcommand until that is done or ctx ends. self is what this
// program's arguments begin with before it is the sample application: start
// runs the program again, with them.
func Run(ctx context.Context, self, args []string, stdout, stderr io.Writer) error {
	cmd := newRoot(self)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	return cmd.ExecuteContext(ctx)
}

func newRoot(self []string) *cobra.Command {
	cfg := config{self: self}
	root := &cobra.Command{
		Use:           "sample",
		Short:         "A small application that writes all the time",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return cfg.complete()
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), cfg, cmd.OutOrStdout()) },
	}
	cfg.register(root.PersistentFlags())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", ErrUsage, err) })
	sub := func(use, short string, do func(ctx context.Context, cfg config, out io.Writer) error) {
		root.AddCommand(&cobra.Command{
			Use: use, Short: short, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return do(cmd.Context(), cfg, cmd.OutOrStdout()) },
		})
	}
	sub("run", "Run in the foreground until SIGTERM", serve)
	sub("start", "Run in the background; return when it serves", start)
	sub("stop", "Stop it; return when it is gone", stop)
	sub("status", "Exit 0 while it runs, 3 while it does not", status)
	sub("quiesce", "Hold commits, at most for --hold", quiesce)
	sub("resume", "Go on after quiesce", resume)
	sub("check", "Verify all data and print the findings as JSON", check)
	return root
}

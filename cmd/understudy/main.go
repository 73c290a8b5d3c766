// Command understudy keeps a warm copy of a single-node application ready to
// take over, with nothing between the hosts but an object-storage bucket.
//
// This package has the commands, a file each. Its folders are the rooms that commands
// share: they read settings, open the bucket's provider and ask agents; nothing below
// cmd does any of that.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/cmd/understudy/settings"
	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
)

func main() {
	if _, chosen := os.LookupEnv("GOGC"); !chosen {
		// A backup of a million files holds about 150 MiB at a time. It is not
		// to take twice as much on a host that belongs to the application.
		debug.SetGCPercent(50)
	}
	// The key is in memory: no core dump of it, and no other process of the same
	// user's that reads it. What this one starts is not concerned.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // no reason not to run
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	a := &app{
		std:          terminal.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Lookup: os.LookupEnv},
		surroundings: surroundings{lookup: os.LookupEnv, environment: settings.EnvironmentPath, setenv: os.Setenv},
	}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is the whole program but for the process around it: it returns the exit
// code.
func (a *app) run(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(a.std.In)
	root.SetOut(a.std.Out)
	root.SetErr(a.std.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exit.Done
	}
	code := exit.Code(ctx, err)
	a.printer().Fail(a.surroundings.withSudo(err), code)
	return code
}

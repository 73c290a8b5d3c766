package main

import (
	"context"
	"os"
	"testing"

	"github.com/understudy-ha/understudy/cmd/understudy/terminal"
)

// asTheProgram is a variable that makes the test program the program, with the file that
// it names as this host's environment file.
const asTheProgram = "TEST_AS_UNDERSTUDY"

// TestMain lets the test program be what an agent of this process starts of
// itself: the process that keeps a hook's output. Without this the tests would
// start themselves again, without end.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == keepOutputCommand {
		os.Exit(run(context.Background(), os.Args[1:], os.LookupEnv, terminal.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	if environment := os.Getenv(asTheProgram); environment != "" {
		a := &app{std: terminal.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Lookup: os.LookupEnv}, surroundings: surroundings{lookup: os.LookupEnv, environment: environment, setenv: os.Setenv}}
		os.Exit(a.run(context.Background(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// Package e2e tells the whole story on real servers and real processes: the
// program as it is shipped, the sample application, MinIO and PostgreSQL. Its
// tests use the command line and nothing else of Understudy's.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
)

// Programs under test, built once with the race detector, and understudy also
// without it, for what takes long.
// crashBin is understudy as it dies at a crash point.
var understudyBin, sampleBin, fastBin, crashBin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "understudy-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a folder for the programs:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // other users run them too
		fmt.Fprintln(os.Stderr, "open the folder for the programs:", err)
		return 1
	}
	// A race ends the process that has it; otherwise exits are not held up.
	if err := os.Setenv("GORACE", "halt_on_error=1 atexit_sleep_ms=0"); err != nil {
		fmt.Fprintln(os.Stderr, "set GORACE:", err)
		return 1
	}
	understudyBin, sampleBin = filepath.Join(dir, "understudy"), filepath.Join(dir, "sample")
	fastBin, crashBin = filepath.Join(dir, "fast"), filepath.Join(dir, "crash")
	for _, args := range [][]string{
		{"-race", "-o", understudyBin, "../cmd/understudy"},
		{"-race", "-o", sampleBin, "./sample"},
		{"-o", fastBin, "../cmd/understudy"}, // as make build does
		{"-tags", "crashpoints", "-o", crashBin, "../cmd/understudy"},
	} {
		build := exec.Command("go", append([]string{"build"}, args...)...)
		build.Stdout, build.Stderr = os.Stdout, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n", args[len(args)-1], err)
			return 1
		}
	}
	return server.Run(m)
}

// Package e2e tells the whole story on real servers and real processes: the
// program as it is shipped, the sample application, MinIO and PostgreSQL. Its
// tests use the command line and nothing else of Understudy's.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sqlite"
	"github.com/understudy-ha/understudy/e2e/server"
)

// Programs under test: each is its path, and is built when a test first needs it.
var (
	understudyBin = program("understudy", "../cmd/understudy") // as make build does
	racedBin      = program("raced", "../cmd/understudy", "-race")
	crashBin      = program("crash", "../cmd/understudy", "-tags=crashpoints")
	sampleBin     = program("sample", "./sample")
	// For roots in which there is nothing but the program.
	shippedBin       = static("shipped", "../cmd/understudy")
	shippedSampleBin = static("shipped-sample", "./sample")
)

// allRaced has agents look for races in every test that does not say which program they are.
var allRaced = flag.Bool("raced", false, "agents look for races where a test does not say which program they are: takes about twice as long")

// programs is the folder of the programs, while tests run.
var programs string

// building is held by the one build that runs: two at a time would compile the
// same packages twice.
var building sync.Mutex

// program returns a function that returns the path of a package's program. Where the
// package does not build, there is nothing at the path, and whoever needs it fails.
func program(name, pkg string, flags ...string) func() string {
	return built(nil, name, pkg, append([]string{"-ldflags=-w"}, flags...)...)
}

// static is program, built as releases and images are.
func static(name, pkg string) func() string {
	return built([]string{"CGO_ENABLED=0"}, name, pkg, "-trimpath", "-buildvcs=false", "-ldflags=-s -w")
}

func built(env []string, name, pkg string, flags ...string) func() string {
	return sync.OnceValue(func() string {
		building.Lock()
		defer building.Unlock()
		path := filepath.Join(programs, name)
		build := exec.Command("go", append(append([]string{"build", "-o", path}, flags...), pkg)...)
		build.Env = append(os.Environ(), env...)
		build.Stdout, build.Stderr = os.Stdout, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n", name, err)
		}
		return path
	})
}

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
	// A source has SQLite lock files in another way, which it takes before it has
	// opened a first one alone: tests read databases, and name what sources stage.
	if _, err := sqlite.New("first", sqlite.Config{Path: filepath.Join(dir, "none.db"), Scratch: dir}); err != nil {
		fmt.Fprintln(os.Stderr, "prepare SQLite:", err)
		return 1
	}
	programs = dir
	return server.Run(m)
}

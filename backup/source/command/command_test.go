package command

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// newFileCommand makes a command source whose state is one file.
func newFileCommand(t *testing.T, state, scratch string) *Source {
	t.Helper()
	c, err := New("queue", Config{
		Dump:    []string{"cat", state},
		Restore: []string{"dd", "status=none", "of=" + state},
		Timeout: time.Minute,
		Scratch: scratch,
	})
	sourcetest.Must(t, err)
	return c
}

func TestCommandStateGoesToAnotherHost(t *testing.T) {
	dir := t.TempDir()
	big := strings.Repeat("a line of the queue\n", 100_000)
	sourcetest.Must(t, os.WriteFile(filepath.Join(dir, "here"), []byte(big), 0o600))
	sourcetest.Must(t, os.WriteFile(filepath.Join(dir, "there"), []byte("old"), 0o600))
	here := newFileCommand(t, filepath.Join(dir, "here"), filepath.Join(dir, "scratch-here"))
	there := newFileCommand(t, filepath.Join(dir, "there"), filepath.Join(dir, "scratch-there"))
	s := sourcetest.NewVault(t)
	sourcetest.Must(t, here.Check(t.Context()))
	e, _ := s.Backup(t, here)
	if e.Size != int64(len(big)) || e.Kind != "command" || e.Name != "queue" {
		t.Errorf("entry %+v", e)
	}

	s.Stage(t, there, e)
	s.Stage(t, there, e) // replaces the first
	if got := sourcetest.ReadText(t, filepath.Join(dir, "there")); got != "old" {
		t.Error("staging touched the target")
	}
	sourcetest.Must(t, there.Swap(t.Context()))
	sourcetest.Must(t, there.Swap(t.Context()))
	if got := sourcetest.ReadText(t, filepath.Join(dir, "there")); got != big {
		t.Error("swapped state differs")
	}
	sourcetest.MustFail(t, there.Stage(t.Context(), s.Reader(), e), "neither finished nor rolled back")
	sourcetest.Must(t, there.Discard(t.Context()))
	sourcetest.Must(t, there.Discard(t.Context()))
	sourcetest.MustSweep(t, there)
	if left, _ := filepath.Glob(filepath.Join(dir, "scratch-there", "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	sourcetest.MustFail(t, there.Swap(t.Context()), "nothing is staged")

	sourcetest.Must(t, source.Export(t.Context(), s.Reader(), e, filepath.Join(dir, "export")))
	if got := sourcetest.ReadText(t, filepath.Join(dir, "export", "output")); got != big {
		t.Error("exported state differs")
	}
}

// A swap that stops after any of its steps ends, in a new process, in the old
// or the new state, whichever is asked for.
func TestCommandSwapSurvivesACrashAfterEachStep(t *testing.T) {
	for _, end := range []string{"swap", "swap back"} {
		for n, more := 1, true; more; n++ {
			more = commandCrash(t, end, n)
		}
	}
}

func commandCrash(t *testing.T, end string, n int) bool {
	dir := t.TempDir()
	state, scratch := filepath.Join(dir, "state"), filepath.Join(dir, "scratch")
	sourcetest.Must(t, os.WriteFile(state, []byte("new"), 0o600))
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, newFileCommand(t, state, scratch))
	sourcetest.Must(t, os.WriteFile(state, []byte("old"), 0o600))
	c := newFileCommand(t, state, scratch)
	s.Stage(t, c, e)

	fault, stopped := sourcetest.StopAfter(n)
	c.fault = fault
	err := c.Swap(t.Context())
	if err == nil && end == "swap back" {
		err = c.SwapBack(t.Context())
	}
	if err == nil && end == "swap" {
		err = c.Discard(t.Context())
	}
	if stopped() == (err == nil) {
		t.Fatalf("%s, step %d: %v", end, n, err)
	}

	c = newFileCommand(t, state, scratch)
	want := "old"
	if end == "swap" {
		want = "new"
		if err := c.Swap(t.Context()); err != nil && !errors.Is(err, swap.ErrNothingStaged) {
			t.Fatalf("step %d: %v", n, err)
		}
		sourcetest.Must(t, c.Discard(t.Context()))
	} else {
		sourcetest.Must(t, c.SwapBack(t.Context()))
		sourcetest.Must(t, c.SwapBack(t.Context()))
	}
	sourcetest.MustSweep(t, c)
	if got := sourcetest.ReadText(t, state); got != want {
		t.Errorf("%s after a stop at step %d: state is %q", end, n, got)
	}
	if left, _ := filepath.Glob(filepath.Join(scratch, "*")); len(left) > 0 {
		t.Errorf("%s after a stop at step %d left %q", end, n, left)
	}
	return stopped()
}

func TestCommandDiscardRefusesAnUnfinishedSwap(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	sourcetest.Must(t, os.WriteFile(state, []byte("x"), 0o600))
	c := newFileCommand(t, state, filepath.Join(dir, "scratch"))
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, c)
	s.Stage(t, c, e)
	c.fault, _ = sourcetest.StopAfter(1)
	sourcetest.MustFail(t, c.Swap(t.Context()), "stopped")
	sourcetest.MustFail(t, c.Discard(t.Context()), "neither finished nor rolled back")
}

func TestCommandFailureIsAnErrorThatQuotesIt(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		dump []string
		want []string
	}{
		{"exit code", []string{"cat", "/nowhere/at-all"}, []string{"dump queue: ", "run cat: exit status 1: ", "/nowhere/at-all"}},
		{"output and then failure", []string{"tar", "-c", "/etc/hostname", "/nowhere"}, []string{"run tar: exit status 2", "/nowhere"}},
		{"missing program", []string{"no-such-program-here"}, []string{"start no-such-program-here"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New("queue", Config{Dump: tt.dump, Restore: []string{"cat"}, Scratch: dir})
			sourcetest.Must(t, err)
			_, _, err = sourcetest.NewVault(t).TryBackup(t.Context(), c)
			sourcetest.MustFail(t, err, tt.want...)
		})
	}
}

func TestCommandConfigIsChecked(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Restore: []string{"x"}, Scratch: "s"}, "dump is missing"},
		{Config{Dump: []string{"x"}, Scratch: "s"}, "restore is missing"},
		{Config{Dump: []string{"x"}, Restore: []string{"x"}}, "scratch folder is missing"},
	} {
		_, err := New("queue", tt.cfg)
		sourcetest.MustFail(t, err, "source queue", tt.want)
	}
	c, err := New("queue", Config{Dump: []string{"no-such-program-here"}, Restore: []string{"cat"}, Scratch: t.TempDir()})
	sourcetest.Must(t, err)
	sourcetest.MustFail(t, c.Check(t.Context()), "find command", "no-such-program-here")
}

func TestCommandKeepsTheAgentsSecretsToItself(t *testing.T) {
	t.Setenv("UNDERSTUDY_KEY", "secret-key")
	t.Setenv("UNDERSTUDY_ADMIN_TOKEN", "secret-token")
	c, err := New("env", Config{Dump: []string{"env"}, Restore: []string{"cat"}, Scratch: t.TempDir(), Env: []string{"OWN=yes"}})
	sourcetest.Must(t, err)
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, c)
	var out bytes.Buffer
	sourcetest.Must(t, chunks.Copy(t.Context(), s.Reader(), e.Root, &out))
	if strings.Contains(out.String(), "secret") || !strings.Contains(out.String(), "OWN=yes\n") {
		t.Errorf("environment:\n%s", &out)
	}
}

// A program is killed with its children, by its time-out and by the context,
// even one that has left its process group and holds the pipe open.
func TestCommandIsKilledWithItsProcessGroup(t *testing.T) {
	for _, wrapper := range []string{"env", "setsid"} {
		t.Run(wrapper, func(t *testing.T) {
			pids := filepath.Join(t.TempDir(), "pids")
			c, err := New("hang", Config{
				// The inner shell is a stand-in for an application's wrapper.
				Dump:    []string{"sh", "-c", wrapper + ` sh -c 'echo $$ >> "$0"; exec sleep 1000' "$0" & wait; sleep 1000`, pids},
				Restore: []string{"cat"}, Scratch: t.TempDir(), Timeout: 500 * time.Millisecond,
			})
			sourcetest.Must(t, err)
			start := time.Now()
			_, _, err = sourcetest.NewVault(t).TryBackup(t.Context(), c)
			sourcetest.MustFail(t, err, "killed after 500ms")
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(sourcetest.ReadText(t, pids)))
			sourcetest.Must(t, err)
			if wrapper == "setsid" { // out of reach by design: clean up
				sourcetest.Must(t, syscall.Kill(pid, syscall.SIGKILL))
				return
			}
			waitGone(t, pid)
		})
	}
}

// waitGone waits until a process has ended.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("process %d is still there", pid)
		}
	}
}

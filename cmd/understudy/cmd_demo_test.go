package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/cmd/understudy/demo"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestDemo runs the demo as it is shipped: as a program that starts itself.
func TestDemo(t *testing.T) {
	dir := t.TempDir() // the sub-tests' own would make paths too long for a socket's
	bin := filepath.Join(dir, "understudy")
	build := exec.CommandContext(t.Context(), "go", "build", "-race", "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	for i, tt := range []struct {
		name string
		test func(t *testing.T, bin, tmp string)
	}{
		{"once keeps every promise and leaves nothing", demoOnce},
		{"leaves the cluster to be played with until interrupted", demoToPlayWith},
		{"leaves nothing when it is interrupted", demoInterrupted},
		{"leaves no process when it is killed", demoKilled},
		{"shows why a promise was broken, and fails", demoBroken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tmp := filepath.Join(dir, strconv.Itoa(i))
			if err := os.Mkdir(tmp, 0o700); err != nil {
				t.Fatal(err)
			}
			tt.test(t, bin, tmp)
		})
	}
}

// demoRun is a demo as a process of its own.
type demoRun struct {
	cmd      *exec.Cmd
	tmp      string // where its files are
	out, err output
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func startDemo(t *testing.T, bin, tmp string, args ...string) *demoRun {
	t.Helper()
	d := &demoRun{tmp: tmp}
	// For a test that failed: leavesNothing has found nothing otherwise.
	t.Cleanup(func() {
		for _, pid := range d.processes(t) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	d.cmd = exec.CommandContext(t.Context(), bin, append([]string{"demo"}, args...)...)
	// A race-detecting program sleeps for a second before it exits, unless told.
	d.cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "GORACE=atexit_sleep_ms=0", "UNDERSTUDY_POLL=not used by the demo")
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.err
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return d
}

// wait gives the exit code.
func (d *demoRun) wait(t *testing.T) int {
	t.Helper()
	err := d.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return d.cmd.ProcessState.ExitCode()
}

// processes lists the processes that have to do with the demo, by what is on
// their command line or in their environment.
func (d *demoRun) processes(t *testing.T) []int {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, dir := range folders {
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // both are empty when it has ended
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if bytes.Contains(append(args, env...), []byte(d.tmp)) {
			pid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// eventually waits for a condition that is bound to come.
func (d *demoRun) eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited too long until %s; it printed\n%s%s", what, &d.out, &d.err)
		case <-tick.C:
		}
	}
}

// leavesNothing checks that no process and no file is left.
func (d *demoRun) leavesNothing(t *testing.T) {
	t.Helper()
	if pids := d.processes(t); len(pids) > 0 {
		t.Errorf("processes %v are left", pids)
	}
	if left, err := os.ReadDir(d.tmp); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v %v", left, err)
	}
}

func demoOnce(t *testing.T, bin, tmp string) {
	t.Helper()
	d := startDemo(t, bin, tmp, "--once", "--json")
	if code := d.wait(t); code != exit.Done {
		t.Fatalf("exit %d:\n%s%s", code, &d.out, &d.err)
	}
	d.leavesNothing(t)
	var report demo.Report
	if err := json.Unmarshal([]byte(d.out.String()), &report); err != nil {
		t.Fatalf("%v in %s", err, &d.out)
	}
	chapters := map[string]bool{}
	for _, c := range report.Checks {
		chapters[c.Chapter] = true
		if !c.OK {
			t.Errorf("broken: %+v", c)
		}
	}
	if !report.OK || len(chapters) != 6 || len(report.Hosts) != 3 {
		t.Errorf("report %+v", report)
	}
	t.Logf("told in %.1f s", report.Seconds)
}

func demoToPlayWith(t *testing.T, bin, tmp string) {
	t.Helper()
	d := startDemo(t, bin, tmp)
	d.eventually(t, "the story is told", func() bool { return strings.Contains(d.out.String(), "The agents' logs are in") })
	lines := regexp.MustCompile(`(?m)^ +\. (\S+/env)$`).FindStringSubmatch(d.out.String())
	if lines == nil {
		t.Fatalf("it names no environment:\n%s", &d.out)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `. "$1" && "$2" status --json`, "sh", lines[1], d.cmd.Path)
	text, err := cmd.Output()
	var s report.Status
	if err := errors.Join(err, json.Unmarshal(text, &s)); err != nil || s.Active != "host-c" || s.Instance != "host-a" {
		t.Errorf("status as told: %s: %v", text, err)
	}
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := d.wait(t); code != exit.Done {
		t.Errorf("exit %d:\n%s%s", code, &d.out, &d.err)
	}
	d.leavesNothing(t)
	if strings.ContainsAny(d.out.String(), "\x1b\r") {
		t.Errorf("escape sequences outside a terminal:\n%q", d.out.String())
	}
}

func demoInterrupted(t *testing.T, bin, tmp string) {
	t.Helper()
	d := startDemo(t, bin, tmp, "--once")
	d.eventually(t, "agents run", func() bool { return strings.Contains(d.out.String(), "✓ host-a is the active") })
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := d.wait(t); code != exit.Interrupted {
		t.Errorf("exit %d:\n%s%s", code, &d.out, &d.err)
	}
	d.leavesNothing(t)
	if strings.Contains(d.out.String(), "✗") {
		t.Errorf("an interruption counts as a broken promise:\n%s", &d.out)
	}
}

func demoKilled(t *testing.T, bin, tmp string) {
	t.Helper()
	d := startDemo(t, bin, tmp, "--once")
	d.eventually(t, "agents run", func() bool { return strings.Contains(d.out.String(), "✓ host-a is the active") })
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	d.wait(t)
	d.eventually(t, "all processes have ended", func() bool { return len(d.processes(t)) == 0 })
}

func demoBroken(t *testing.T, bin, tmp string) {
	t.Helper()
	folder := filepath.Join(tmp, strings.Repeat("x", 100)) // too long for a socket
	d := startDemo(t, bin, tmp, "--once", "--dir", folder)
	if code := d.wait(t); code != exit.Failed {
		t.Errorf("exit %d:\n%s%s", code, &d.out, &d.err)
	}
	d.leavesNothing(t)
	for _, want := range []string{"✗ host-a is the active", "The end of host-a's log", "shorter path", "0 promises held"} {
		if !strings.Contains(d.out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &d.out)
		}
	}
}

func TestDemoRefusesAFolderInUse(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := understudy(t, nil, "demo", "--dir", dir)
	if code != exit.Usage || !strings.Contains(stderr, "not empty") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "precious")); err != nil {
		t.Error(err)
	}
}

func TestDemoAppIsTheSampleApplication(t *testing.T) {
	dir := t.TempDir()
	for want, args := range map[int][]string{
		exit.Refused: {"status", "--data", dir},
		exit.Usage:   {"status", "--speed", "fast"},
		exit.Failed:  {"check", "--data", dir},
		exit.Done:    {"stop", "--data", dir},
	} {
		if out, stderr, code := understudy(t, nil, append([]string{"demo", "app"}, args...)...); code != want {
			t.Errorf("%v: exit %d, want %d: %s%s", args, code, want, out, stderr)
		}
	}
}

package sample

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// The test binary is the program too, so that processes can be started.
func TestMain(m *testing.M) {
	if gate := os.Getenv("SAMPLE_GATE"); gate != "" && len(os.Args) > 1 && os.Args[1] == "run" {
		waitAt(gate)
	}
	if len(os.Args) > 1 && os.Args[1] == "run" || os.Getenv("SAMPLE_PROGRAM") != "" {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// waitAt says in a file that this process waits, and returns once the gate is there.
func waitAt(gate string) {
	if err := renameio.WriteFile(gate+".waits", []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		panic(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := os.Stat(gate); err == nil {
			return
		}
	}
}

// sample runs a subcommand as a process of its own.
func sample(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	cmd := program(t, dir, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// program is a process that runs a subcommand.
func program(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, append(args, flags(dir)...)...)
	// A race-detecting program sleeps for a second before it exits, unless told.
	cmd.Env = append(os.Environ(), "SAMPLE_PROGRAM=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

func flags(dir string) []string {
	return []string{
		"--data", filepath.Join(dir, "data"), "--run-dir", filepath.Join(dir, "run"),
		"--ledger", filepath.Join(dir, "ledger"), "--interval", "1ms",
	}
}

func mustSample(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, code := sample(t, dir, args...)
	if code != 0 {
		t.Fatalf("sample %s: exit %d: %s", strings.Join(args, " "), code, out)
	}
	return out
}

// started runs the application until the test ends.
func started(t *testing.T, more ...string) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		// The test's context has ended; this must still run.
		c := config{runDir: filepath.Join(dir, "run"), stopWait: 5 * time.Second}
		if err := stop(context.Background(), c, os.Stderr); err != nil {
			t.Error(err)
		}
	})
	mustSample(t, dir, append([]string{"start"}, more...)...)
	return dir
}

func count(t *testing.T, dir string) counts {
	t.Helper()
	var c counts
	if err := ask(t.Context(), runDir(filepath.Join(dir, "run")), "GET", "/count", nil, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// await waits until a condition holds.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited too long until %s", what)
		case <-tick.C:
		}
	}
}

func found(t *testing.T, dir string, more ...string) (Findings, int) {
	t.Helper()
	out, code := sample(t, dir, append([]string{"check"}, more...)...)
	var f Findings
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&f); err != nil {
		t.Fatalf("check printed %q: %v", out, err)
	}
	return f, code
}

func TestStartAndStopAreIdempotent(t *testing.T) {
	dir := started(t)
	first := mustSample(t, dir, "status")
	mustSample(t, dir, "start")
	if again := mustSample(t, dir, "status"); again != first {
		t.Errorf("a second start replaced the process: %q, then %q", first, again)
	}
	mustSample(t, dir, "stop")
	mustSample(t, dir, "stop")
	if out, code := sample(t, dir, "status"); code != exitNotRunning {
		t.Errorf("status after stop: exit %d: %s", code, out)
	}
}

func TestSecondProcessOnTheSameDataIsRefused(t *testing.T) {
	dir := started(t)
	out, code := sample(t, dir, "run")
	if code != 1 || !strings.Contains(out, "already running") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestEveryAcknowledgedCommitIsThereAfterKill(t *testing.T) {
	dir := started(t)
	await(t, "there are 20 rows", func() bool { return count(t, dir).Rows >= 20 })
	var pid int
	if _, err := fmt.Sscanf(mustSample(t, dir, "status"), "sample: running, pid %d", &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "the process is gone", func() bool { _, code := sample(t, dir, "status"); return code == exitNotRunning })
	f, code := found(t, dir)
	if code != 0 || !f.OK || f.Rows < 20 || f.Ledger.Acknowledged < 20 || f.Ledger.Missing != 0 {
		t.Errorf("exit %d: %+v, ledger %+v", code, f, f.Ledger)
	}
	mustSample(t, dir, "start")
	await(t, "it goes on", func() bool { return count(t, dir).Last > f.Last })
}

func TestQuiesceHoldsCommitsUntilResume(t *testing.T) {
	dir := started(t)
	await(t, "there is a row", func() bool { return count(t, dir).Rows > 0 })
	mustSample(t, dir, "quiesce")
	mustSample(t, dir, "quiesce")
	before := count(t, dir)
	f, _ := found(t, dir) // takes longer than many commits
	if after := count(t, dir); !before.Held || after.Last != before.Last || f.Extra != 0 || f.Rows != before.Rows {
		t.Errorf("held at %+v, then %+v; check found %+v", before, after, f)
	}
	mustSample(t, dir, "resume")
	mustSample(t, dir, "resume")
	await(t, "it goes on", func() bool { return count(t, dir).Last > before.Last })
}

func TestStopWhileHeldCommitsNothing(t *testing.T) {
	dir := started(t)
	await(t, "there is a row", func() bool { return count(t, dir).Rows > 0 })
	mustSample(t, dir, "quiesce")
	held := count(t, dir)
	mustSample(t, dir, "stop")
	if f, _ := found(t, dir); f.Last != held.Last {
		t.Errorf("held at %d, stopped at %d", held.Last, f.Last)
	}
}

func TestQuiesceAndResumeWithoutAnApplicationDoNothing(t *testing.T) {
	dir := t.TempDir()
	mustSample(t, dir, "quiesce")
	mustSample(t, dir, "resume")
}

func TestCheckFindsDamageAndLoss(t *testing.T) {
	dir := started(t)
	await(t, "there are rows", func() bool { return count(t, dir).Rows >= 5 })
	mustSample(t, dir, "stop")
	up := uploads(filepath.Join(dir, "data", "uploads"))
	if err := os.Remove(up.path(2)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(up.path(3), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := openLedger(filepath.Join(dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.acknowledge(newRow(1_000_000, []byte("never backed up"))); err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	f, code := found(t, dir)
	if code != 1 || f.OK || len(f.Problems) != 2 || f.Ledger.Missing != 1 || f.Ledger.FirstMissing != 1_000_000 {
		t.Errorf("exit %d: %+v, ledger %+v", code, f, f.Ledger)
	}
}

func TestCheckOfMissingDataIsAnError(t *testing.T) {
	out, code := sample(t, t.TempDir(), "check")
	if code != 1 || !strings.Contains(out, "open database") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestStartTellsWhyItFailed(t *testing.T) {
	dir := t.TempDir()
	out, code := sample(t, dir, "start", "--listen", "256.0.0.1:1")
	if code != 1 || !strings.Contains(out, "it ended at once: sample: listen") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// TestAStopFindsWhatAStartHasLeft: a start is killed once it has begun the application,
// and before that serves.
func TestAStopFindsWhatAStartHasLeft(t *testing.T) {
	dir := t.TempDir()
	gate := filepath.Join(dir, "gate")
	begin := program(t, dir, "start")
	begin.Env = append(begin.Env, "SAMPLE_GATE="+gate)
	if err := begin.Start(); err != nil {
		t.Fatal(err)
	}
	var pid string
	await(t, "the application begins", func() bool {
		b, err := os.ReadFile(gate + ".waits")
		pid = string(b)
		return err == nil
	})
	if err := begin.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = begin.Wait()
	if found, err := runDir(filepath.Join(dir, "run")).running(); err != nil || found == 0 {
		t.Errorf("nobody is seen to run: %d, %v", found, err)
	}
	end := program(t, dir, "stop")
	if err := end.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := end.Wait(); err != nil {
		t.Fatalf("stop: %v", err)
	}
	await(t, "it is gone", func() bool {
		if _, code := sample(t, dir, "status"); code != exitNotRunning {
			mustSample(t, dir, "stop")
			t.Fatal("it runs after the stop")
		}
		stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

func TestApplicationEndsWithItsLifeline(t *testing.T) {
	lifeline := flock.New(filepath.Join(t.TempDir(), "lifeline"))
	if err := lifeline.Lock(); err != nil {
		t.Fatal(err)
	}
	dir := started(t, "--lifeline", lifeline.Path())
	await(t, "it writes", func() bool { return count(t, dir).Rows > 10 })
	if err := lifeline.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "it has ended", func() bool {
		_, code := sample(t, dir, "status")
		return code == exitNotRunning
	})
	if f, code := found(t, dir); code != 0 || f.Ledger.Missing != 0 || f.Extra != 0 {
		t.Errorf("it did not end in an orderly way: exit %d: %+v, ledger %+v", code, f, f.Ledger)
	}
}

func TestApplicationWithoutItsLifelineTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	out, code := sample(t, dir, "run", "--lifeline", filepath.Join(dir, "gone"))
	if code != 1 || !strings.Contains(out, errLifeline.Error()) {
		t.Errorf("exit %d: %s", code, out)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it made %v: %v", left, err)
	}
}

func TestCheckCountsNoCommitThatIsMadeMeanwhile(t *testing.T) {
	dir := started(t)
	await(t, "there are rows", func() bool { return count(t, dir).Rows >= 50 })
	for range 5 {
		if f, code := found(t, dir); code != 0 || f.Ledger.Missing != 0 {
			t.Fatalf("exit %d: %+v, ledger %+v", code, f, f.Ledger)
		}
	}
}

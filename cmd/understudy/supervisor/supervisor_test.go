package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
)

// The test binary is also the watchdog, and an agent that can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "watchdog":
			Watch(context.Background(), os.Args[2:])
			os.Exit(0)
		case "agent":
			os.Exit(agentProcess(os.Args[2]))
		}
	}
	// A race-detecting program sleeps for a second before it exits, unless told.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// agentSpec is what the process of an agent runs.
type agentSpec struct {
	Script, Lock string
	Bound        application.Bound
}

func agentProcess(text string) int {
	var spec agentSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		panic(err)
	}
	k := New(config(spec.Lock, spec.Script))
	err := k.Start(context.Background(), application.Run{Bound: spec.Bound, Report: func(event.Level, string) {}})
	fmt.Println("started", err)
	select {}
}

func config(lock, script string) Config {
	return Config{
		Command: []string{"/bin/sh", "-c", script}, Watchdog: []string{"/proc/self/exe", "watchdog"},
		Env: os.Environ(), Lock: lock, Stdout: os.Stdout, Stderr: os.Stderr,
		Pause: 20 * time.Millisecond, MaxPause: 80 * time.Millisecond,
	}
}

// fixture is a supervisor in this process, and a named pipe by which it is known
// that nothing is left.
type fixture struct {
	*Supervisor
	t     *testing.T
	dir   string
	alive string // a named pipe

	mu      sync.Mutex
	reports []string
}

// newFixture makes one whose command is a shell script. $D is its folder.
func newFixture(t *testing.T, script string) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{t: t, dir: dir, alive: filepath.Join(dir, "alive")}
	if err := syscall.Mkfifo(f.alive, 0o600); err != nil {
		t.Fatal(err)
	}
	f.Supervisor = New(config(filepath.Join(dir, "lock"), f.script(script)))
	t.Cleanup(func() {
		if err := f.Stop(context.Background(), time.Second); err != nil {
			t.Errorf("stop at the end: %v", err)
		}
	})
	return f
}

func (f *fixture) script(text string) string { return "D=" + f.dir + "; " + text }

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fixture) run(b application.Bound) application.Run {
	return application.Run{Env: []string{"UNDERSTUDY_EPOCH=7"}, Bound: b, Report: func(level event.Level, text string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.reports = append(f.reports, string(level)+": "+text)
	}}
}

func (f *fixture) reported() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.reports...)
}

func (f *fixture) start() {
	f.t.Helper()
	if err := f.Start(f.t.Context(), f.run(application.Bound{Stop: 5 * time.Second})); err != nil {
		f.t.Fatal(err)
	}
}

// until waits for a condition that is bound to come.
func until(t *testing.T, what string, check func() bool) {
	t.Helper()
	deadline, tick := time.After(30*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within half a minute: %s", what)
		}
	}
}

// read waits for a file that the command writes whole, and gives its text.
func (f *fixture) read(name string) string {
	f.t.Helper()
	var text []byte
	until(f.t, name+" is there", func() bool {
		var err error
		text, err = os.ReadFile(f.path(name))
		return err == nil && bytes.HasSuffix(text, []byte("\n"))
	})
	return strings.TrimSpace(string(text))
}

// whole begins a script that holds the named pipe open, so that all that it
// starts does, and says so in the file up.
const whole = "exec 9>$D/alive; "

// gone opens the named pipe, and gives what waits until nobody has it open.
func (f *fixture) gone() (wait func()) {
	f.t.Helper()
	opened := make(chan *os.File, 1)
	go func() {
		r, err := os.Open(f.alive)
		if err != nil {
			f.t.Error(err)
		}
		opened <- r
	}()
	return func() {
		f.t.Helper()
		r := <-opened
		defer r.Close()
		end := make(chan error, 1)
		go func() {
			_, err := r.Read(make([]byte, 1))
			end <- err
		}()
		select {
		case <-end:
		case <-time.After(30 * time.Second):
			f.t.Error("a process is left after half a minute")
		}
	}
}

func bootTime(t *testing.T) time.Duration {
	t.Helper()
	return clock.System().Now().Boot
}

func TestTheCommandRunsUntilItIsStopped(t *testing.T) {
	f := newFixture(t, `read x && exit 9; echo "$UNDERSTUDY_EPOCH" >$D/up; trap 'echo asked >$D/asked; exit 0' TERM; while :; do sleep 0.01; done`)
	f.start()
	f.start() // does nothing
	if got := f.read("up"); got != "7" {
		t.Errorf("epoch %q in the command's environment", got)
	}
	if err := f.Stop(t.Context(), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(f.path("asked")); string(got) != "asked\n" {
		t.Errorf("the command was not asked to end: %q, %v", got, err)
	}
	if err := f.Stop(t.Context(), time.Second); err != nil {
		t.Errorf("stop of what does not run: %v", err)
	}
	if got := f.reported(); len(got) > 0 || f.Down() != nil {
		t.Errorf("an orderly life was reported: %q, down: %v", got, f.Down())
	}
	f.start()
}

func TestWhatCannotBeStartedIsAnError(t *testing.T) {
	f := newFixture(t, "")
	f.cfg.Command = []string{"/nonexistent/app"}
	for range 30 { // none is taken for the one before, which is about to be forgotten
		err := f.Start(t.Context(), f.run(application.Bound{Stop: time.Second}))
		if err == nil || !strings.Contains(err.Error(), "/nonexistent/app") {
			t.Fatalf("%v", err)
		}
	}
	f.cfg.Command = []string{"/bin/true"}
	err := f.Start(t.Context(), f.run(application.Bound{Until: 1, Stop: time.Second}))
	if err == nil || !strings.Contains(err.Error(), "is over") {
		t.Errorf("start after the bound: %v", err)
	}
}

func TestNothingOutlivesAStop(t *testing.T) {
	tests := map[string]string{
		"TERM ignored":  whole + `trap '' TERM; echo up >$D/up; while :; do sleep 1; done`,
		"grandchildren": whole + `(trap '' TERM; sleep 1000 & wait; sleep 1000) & sleep 1000 & echo up >$D/up; wait`,
		"daemon": whole + `setsid sh -c 'trap "" TERM HUP; echo up >'$D'/up; sleep 1000; sleep 1000' & 
			trap 'exit 0' TERM; while :; do sleep 0.01; done`,
		"stopped": whole + `echo up >$D/up; kill -STOP $$`,
	}
	for name, script := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, script)
			gone := f.gone()
			f.start()
			f.read("up")
			if err := f.Stop(t.Context(), 5*time.Second); err != nil {
				t.Fatal(err)
			}
			gone()
		})
	}
}

func TestACommandThatEndsIsStartedAgainAfterGrowingPauses(t *testing.T) {
	f := newFixture(t, `echo x >>$D/lives; (trap '' TERM; sleep 1000) & exit 3`)
	f.cfg.MaxPause = time.Minute // no life is so long that pauses begin anew
	if err := f.Start(t.Context(), f.run(application.Bound{Stop: 50 * time.Millisecond})); err != nil {
		t.Fatal(err)
	}
	until(t, "five lives", func() bool {
		text, _ := os.ReadFile(f.path("lives"))
		return bytes.Count(text, []byte("x")) >= 5
	})
	until(t, "down", func() bool { return f.Down() != nil })
	if err := f.Stop(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	alarms := strings.Join(f.reported(), "\n")
	for _, want := range []string{
		"alarm: the application is down: it ended by itself (exit status 3); it is started again in 20ms",
		"info: the application was started again", "again in 40ms", "again in 80ms",
	} {
		if !strings.Contains(alarms, want) {
			t.Errorf("%q is not among the reports:\n%s", want, alarms)
		}
	}
	if f.Down() != nil {
		t.Errorf("down after it was stopped: %v", f.Down())
	}
}

func TestAStartThatIsCancelledLeavesNothing(t *testing.T) {
	f := newFixture(t, "sleep 1000")
	other, err := os.Create(f.path("lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Start(ctx, f.run(application.Bound{Stop: time.Second})) }()
	until(t, "it says why it waits", func() bool { return strings.Contains(strings.Join(f.reported(), ""), "still being stopped") })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := f.Stop(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
}

func TestTheBoundHoldsWithoutTheAgent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, whole+`trap '' TERM; echo up >$D/up; while :; do sleep 1; done`)
	gone := f.gone()
	const stop = 5 * time.Second
	until := bootTime(t) + 2*time.Second
	if err := f.Start(t.Context(), f.run(application.Bound{Until: until, Stop: stop})); err != nil {
		t.Fatal(err)
	}
	f.read("up")
	until += 300 * time.Millisecond
	f.Bind(application.Bound{Until: until, Stop: stop}) // and then no more
	gone()
	if now := bootTime(t); now < until {
		t.Errorf("it had stopped %v before its bound", until-now)
	}
}

// TestKillComesBeforeAStopMustHaveEnded moves the clock: what a busy machine takes
// to run the watchdog says nothing of it.
func TestKillComesBeforeAStopMustHaveEnded(t *testing.T) {
	const due, stop = time.Hour, 5 * time.Second
	command := exec.Command("/bin/sh", "-c", `trap '' TERM; echo up; while :; do sleep 1; done`)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	now := &clockAt{boot: due - time.Millisecond}
	m := &watchdog{clock: now, bound: application.Bound{Until: due, Stop: stop}, pid: command.Process.Pid}
	at := func(boot time.Duration, stopped bool) {
		t.Helper()
		now.boot = boot
		if next := m.tick(); m.stopped != stopped || boot+next > due+stop {
			t.Errorf("at %v: stopped %v, the next look %v later", boot-due, m.stopped, next)
		}
	}
	at(due-time.Millisecond, false)
	at(due+3*time.Second, true) // this host was suspended over the bound
	if m.killAt != due+4*time.Second || !m.late {
		t.Errorf("KILL at %v after the bound, late %v", m.killAt-due, m.late)
	}
	at(due+4*time.Second-1, true)
	if err := syscall.Kill(m.pid, 0); err != nil {
		t.Errorf("it was killed early: %v", err)
	}
	at(due+4*time.Second, true)
	if err := command.Wait(); command.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v", err)
	}
}

// clockAt is a clock that stands.
type clockAt struct {
	clock.Clock
	boot time.Duration
}

func (c *clockAt) Now() ha.Now { return ha.Now{Boot: c.boot} }

func TestAWatchdogThatIsKilledTakesTheCommandWithIt(t *testing.T) {
	f := newFixture(t, whole+`(trap '' TERM; sleep 1000 & wait) & echo $PPID >$D/watchdog; wait`)
	gone := f.gone()
	f.start()
	watchdog, err := strconv.Atoi(f.read("watchdog"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(watchdog, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone()
	until(t, "started again", func() bool { return strings.Contains(strings.Join(f.reported(), ""), "started again") })
}

func TestAWatchdogThatIsStoppedStillStopsTheCommand(t *testing.T) {
	f := newFixture(t, whole+`echo $PPID >$D/watchdog; sleep 1000`)
	gone := f.gone()
	f.start()
	watchdog, err := strconv.Atoi(f.read("watchdog"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(watchdog, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 3000 { // more than the pipe holds
		f.Bind(application.Bound{Stop: time.Second})
	}
	if err := f.Stop(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	gone()
}

// TestTheCommandDiesWithItsAgent kills and stops a real process.
func TestTheCommandDiesWithItsAgent(t *testing.T) {
	tests := []struct {
		name   string
		signal syscall.Signal
		bound  time.Duration // until the agent must have been heard of; 0: none
	}{
		{"killed", syscall.SIGKILL, 0},
		{"stopped past its bound", syscall.SIGSTOP, 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, "echo successor >$D/successor; sleep 1000")
			gone := f.gone()
			spec := agentSpec{
				Script: f.script(whole + `(trap '' TERM; sleep 1000) & setsid sleep 1000 & echo up >$D/up; wait`),
				Lock:   f.path("lock"), Bound: application.Bound{Stop: 5 * time.Second},
			}
			if tt.bound > 0 {
				spec.Bound.Until = bootTime(t) + tt.bound
			}
			text, err := json.Marshal(spec)
			if err != nil {
				t.Fatal(err)
			}
			process := exec.Command("/proc/self/exe", "agent", string(text))
			process.Stderr = os.Stderr
			if err := process.Start(); err != nil {
				t.Fatal(err)
			}
			f.read("up")
			if err := process.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			// An agent that is started now waits until nothing is left.
			f.start()
			gone()
			if now := bootTime(t); now < spec.Bound.Until {
				t.Errorf("it had stopped %v before its bound", spec.Bound.Until-now)
			}
			f.read("successor")
			_ = process.Process.Kill()
			_ = process.Wait()
		})
	}
}

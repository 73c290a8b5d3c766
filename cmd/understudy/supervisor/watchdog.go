package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/clock"
)

// Files that a Supervisor gives its watchdog, besides standard output and error.
const (
	ordersFD = 3 + iota // to read: one application.Bound after another
	newsFD              // to write: news
	lockFD              // held locked until the watchdog ends
)

// news is what a watchdog tells its Supervisor: first PID or Error, at the end Ended.
type news struct {
	PID   int    `json:"pid,omitempty"`   // of the command's first process, which leads its process group
	Error string `json:"error,omitempty"` // why it could not be started
	Ended string `json:"ended,omitempty"` // how the first process ended; nothing is left of the rest
	Late  bool   `json:"late,omitempty"`  // it was stopped because the bound had passed
}

// Intervals of the watchdog.
const (
	lookEvery = time.Second           // timers stand still in suspend, so look at the clock at least so often
	killEvery = 20 * time.Millisecond // KILL is repeated while anything is left
)

// killReserve is how long before a stop must have ended comes KILL: a busy host
// needs a while until what was killed has ended.
func killReserve(stop time.Duration) time.Duration { return min(stop/5, 2*time.Second) }

// watchdog runs one command. It belongs to one goroutine, locked to its thread.
type watchdog struct {
	clock   clock.Clock
	news    *json.Encoder
	bound   application.Bound
	pid     int    // of the first process
	ended   string // how that has ended; "" while it runs
	late    bool
	stopped bool
	killAt  time.Duration // on the boot-time clock, once stopped
}

// Watch is the watchdog's process: it runs argv, and returns when nothing is left
// of that. ctx ends it as an order would. It tells its Supervisor what happened.
func Watch(ctx context.Context, argv []string) {
	// The kernel sends the command's first process KILL when the thread dies
	// that started it: this one lives as long as the process does.
	runtime.LockOSThread()
	for fd := ordersFD; fd <= lockFD; fd++ {
		unix.CloseOnExec(fd) // not the command's
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	orders := make(chan application.Bound)
	go readOrders(os.NewFile(ordersFD, "orders"), orders)
	bound, ok := <-orders
	if !ok {
		return
	}
	m := &watchdog{clock: clock.System(), news: json.NewEncoder(os.NewFile(newsFD, "news")), bound: bound}
	if err := m.start(argv); err != nil {
		m.tell(news{Error: err.Error()})
		return
	}
	m.tell(news{PID: m.pid})
	m.watch(ctx, signals, orders)
	m.tell(news{Ended: m.ended, Late: m.late})
}

func readOrders(r io.Reader, orders chan<- application.Bound) {
	defer close(orders)
	dec := json.NewDecoder(r)
	for {
		var b application.Bound
		if dec.Decode(&b) != nil { // the end, or nobody who makes sense
			return
		}
		orders <- b
	}
}

// tell says something to a Supervisor that may be gone.
func (m *watchdog) tell(n news) { _ = m.news.Encode(n) }

func (m *watchdog) now() time.Duration { return m.clock.Now().Boot }

// start starts the command's first process, at the head of a group.
func (m *watchdog) start(argv []string) error {
	if m.overdue() {
		return errors.New("the time for which it was allowed to run is over")
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the parent of what it leaves behind: %w", err)
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("open its input: %w", err)
	}
	defer null.Close()
	m.pid, err = syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{null.Fd(), uintptr(syscall.Stdout), uintptr(syscall.Stderr)},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	return nil
}

// mind watches over the command until nothing is left of it.
func (m *watchdog) watch(ctx context.Context, signals <-chan os.Signal, orders <-chan application.Bound) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	done := ctx.Done()
	for !m.reap() {
		timer.Reset(m.tick())
		select {
		case b, ok := <-orders:
			if !ok {
				orders = nil
				m.stop(m.now())
				continue
			}
			m.bound = b
		case s := <-signals:
			if s != syscall.SIGCHLD {
				m.stop(m.now())
			}
		case <-done:
			done = nil
			m.stop(m.now())
		case <-timer.C:
		}
	}
}

// reap takes in which processes have ended. It reports whether none is left.
func (m *watchdog) reap() bool {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return true // ECHILD: no process is left
		case pid == 0:
			return false
		case pid == m.pid:
			m.ended = describe(status)
			m.stop(m.now()) // the rest goes too
		}
	}
}

func describe(s syscall.WaitStatus) string {
	if s.Signaled() {
		return fmt.Sprintf("signal: %v", s.Signal())
	}
	return fmt.Sprintf("exit status %d", s.ExitStatus())
}

// tick does what is due, and says after what time to look again.
func (m *watchdog) tick() time.Duration {
	now := m.now()
	if !m.stopped && m.overdue() {
		m.late = true
		m.stop(m.bound.Until)
	}
	next := now + lookEvery
	switch {
	case m.stopped && now >= m.killAt:
		m.signal(syscall.SIGKILL)
		return killEvery
	case m.stopped:
		next = min(next, m.killAt)
	case m.bound.Until > 0:
		next = min(next, m.bound.Until)
	}
	return max(next-now, time.Millisecond)
}

func (m *watchdog) overdue() bool { return m.bound.Until > 0 && m.now() >= m.bound.Until }

// stop begins to stop everything. due is when that should have begun.
func (m *watchdog) stop(due time.Duration) {
	if m.stopped {
		return
	}
	m.stopped = true
	if m.bound.Until > 0 {
		due = min(due, m.bound.Until)
	}
	m.killAt = due + m.bound.Stop - killReserve(m.bound.Stop)
	m.signal(syscall.SIGTERM)
}

// signal reaches every process of the command. One that has ended meanwhile is
// no error; one that may not be signalled shows in that it stays.
func (m *watchdog) signal(s syscall.Signal) {
	whole := m.ended == "" // until it is reaped, nobody else can have its number
	if whole {
		_ = syscall.Kill(-m.pid, s)
	}
	for _, p := range descendants(os.Getpid()) {
		if !whole || p.group != m.pid {
			_ = syscall.Kill(p.pid, s)
		}
	}
}

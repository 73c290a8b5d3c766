package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/event"
)

// life is the command from a start to its end, under one watchdog.
type life struct {
	watchdog *os.Process
	orders   *os.File // its end stops the command; nil once it has been closed
	news     chan news
	pid      int // of the command's first process, and its process group
}

// lockEvery is how often the lock is tried.
const lockEvery = 20 * time.Millisecond

// lock waits until nothing is left of the command as an agent before this one
// may have run it. The watchdog inherits the open file, and with it the lock.
func (s *Supervisor) lock(r *run) (*os.File, error) {
	f, err := s.openLock(r)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for told := false; ; told = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", s.cfg.Lock, err)
		case !told:
			r.app.Report(event.Warn, "the application that an agent before this one ran is still being stopped: waiting for its end")
		}
		select {
		case <-tick.C:
		case <-r.stop:
			f.Close()
			return nil, errStopped
		}
	}
}

// openLock opens the lock's file. A disk that does not answer does not hold up a
// stop.
func (s *Supervisor) openLock(r *run) (*os.File, error) {
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.OpenFile(s.cfg.Lock, os.O_CREATE|os.O_RDWR, 0o600)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, fmt.Errorf("open lock: %w", o.err)
		}
		return o.f, nil
	case <-r.stop:
		go func() {
			if o := <-done; o.err == nil {
				o.f.Close()
			}
		}()
		return nil, errStopped
	}
}

// launch starts a watchdog, which waits for its first order.
func (s *Supervisor) launch(r *run, lock *os.File) (*life, error) {
	ordersIn, orders, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer ordersIn.Close()
	newsIn, newsOut, err := os.Pipe()
	if err != nil {
		orders.Close()
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer newsOut.Close()
	argv := append(append([]string{}, s.cfg.Watchdog...), s.cfg.Command...)
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it ends when its orders do
	cmd.Env = append(append([]string{}, s.cfg.Env...), r.app.Env...)
	cmd.Stdout, cmd.Stderr = s.cfg.Stdout, s.cfg.Stderr
	cmd.ExtraFiles = []*os.File{ordersIn, newsOut, lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the agent
	cmd.WaitDelay = time.Second                           // nobody else has the output once it has ended
	if err := cmd.Start(); err != nil {
		orders.Close()
		newsIn.Close()
		return nil, fmt.Errorf("start the process that watches over the application: %w", err)
	}
	l := &life{watchdog: cmd.Process, orders: orders, news: make(chan news)}
	go l.listen(cmd, newsIn)
	return l, nil
}

// listen passes the watchdog's news on until it has ended.
func (l *life) listen(cmd *exec.Cmd, from *os.File) {
	defer close(l.news)
	dec := json.NewDecoder(from)
	for {
		var n news
		if dec.Decode(&n) != nil {
			break
		}
		l.news <- n
	}
	from.Close()
	_ = cmd.Wait() // its news say how the command ended
}

// awaitStart waits until the command has been started, or has not.
func (l *life) awaitStart() error {
	for n := range l.news {
		if n.PID != 0 {
			l.pid = n.PID
			return nil
		}
		if n.Error != "" {
			for range l.news { // until the watchdog is gone
			}
			return errors.New(n.Error)
		}
	}
	return errWatchdogGone
}

var errWatchdogGone = errors.New("the process that watches over it has ended")

// wait waits until nothing is left, and says how it ended.
func (l *life) wait() error {
	var last news
	for n := range l.news {
		last = n
	}
	switch {
	case last.Ended == "":
		// Its watchdog was killed, and the kernel killed the first process with
		// it. The rest of the group is this one's.
		_ = syscall.Kill(-l.pid, syscall.SIGKILL)
		return errWatchdogGone
	case last.Late:
		return fmt.Errorf("it was stopped, because the agent had not been heard of within its bound (%s)", last.Ended)
	}
	return fmt.Errorf("it ended by itself (%s)", last.Ended)
}

// order replaces the bound. Should the watchdog not be reading, this order is
// left out: the next has the same to say. It must not block the agent.
func (l *life) order(b application.Bound) {
	if l.orders == nil {
		return
	}
	text, err := json.Marshal(b)
	if err != nil {
		return // two numbers
	}
	raw, err := l.orders.SyscallConn()
	if err != nil {
		return // closed
	}
	_ = raw.Write(func(fd uintptr) bool {
		_, _ = unix.Write(int(fd), append(text, '\n')) // whole or not at all: it is shorter than PIPE_BUF
		return true
	})
}

// end has the watchdog stop the command.
func (l *life) end() {
	if l.orders != nil {
		l.orders.Close()
		l.orders = nil
		_ = l.watchdog.Signal(syscall.SIGCONT) // should somebody have stopped it; fails only if it has ended
	}
}

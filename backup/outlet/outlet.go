// Package outlet keeps what programs print, within bounds: hooks, and whatever
// they leave running, may print without end and for ever.
//
// A program prints to a pipe, never to a file: whoever reads the pipe decides how
// much of it is kept. What still has the pipe open when the program itself has
// ended is read on, by a process of its own (Collector), which ends with the last who
// prints. So a daemon that a hook has started is neither held up nor killed by a
// pipe that nobody reads, also after the agent's end.
package outlet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Max is how much of an output a file keeps, and as much again of what came before
// is kept beside it, in bytes.
const Max = 256 << 10

// Collector has a process that outlives this one read a pipe to its end, into the
// file at path. It may close the pipe once it has returned.
type Collector func(pipe *os.File, path string) error

// settle is how long after a program's end its pipe may take to be read to its end,
// before something that it has left running is taken to have that open.
const settle = 2 * time.Millisecond

// fileWait is how long after a program's end its file is waited for.
const fileWait = 100 * time.Millisecond

// Run runs a program to its end, with what it prints in the file at path, begun
// anew, and the end of that in last. A file that cannot be written, and a disk that
// does not answer, keep nothing from being run. keep may be nil: then what the program
// leaves running is read by this process for as long as that lives.
func Run(cmd *exec.Cmd, path string, last *Tail, keep Collector) error {
	return runTo(cmd, beside(func() *Log { return Open(path, Max) }), path, last, keep)
}

func runTo(cmd *exec.Cmd, file *Beside, path string, last *Tail, keep Collector) error {
	r, w, err := os.Pipe()
	if err != nil {
		file.End()
		return fmt.Errorf("make a pipe: %w", err)
	}
	both := io.MultiWriter(last, file)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(both, r) // its end is all that is expected of it
	}()
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	_ = w.Close()
	if err == nil {
		err = cmd.Wait()
	}
	if !isDone(done, settle) && r.SetReadDeadline(longAgo) == nil {
		<-done
		if !readWaiting(both, r) {
			end(file)
			go linger(r, path, keep)
			return err
		}
	}
	go func() {
		<-done
		_ = r.Close()
	}()
	end(file)
	return err
}

// end ends a file, and waits a little for what it is to hold.
func end(file *Beside) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		file.End()
	}()
	isDone(done, fileWait)
}

// isDone waits until a channel is closed, but no longer than d.
func isDone(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// longAgo, as a deadline, ends a read that is under way.
var longAgo = time.Unix(1, 0)

// readWaiting reads what a pipe holds now, for a program prints its reason last. It
// reports whether that is all that will ever come.
func readWaiting(to io.Writer, r *os.File) bool {
	_ = r.SetReadDeadline(time.Time{})
	if _, err := io.CopyN(to, r, int64(waiting(r))); err != nil {
		return true
	}
	stop := time.AfterFunc(settle, func() { _ = r.SetReadDeadline(longAgo) })
	defer stop.Stop()
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		_, _ = to.Write(buf[:n])
		if err != nil {
			return !errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
}

// waiting is how many bytes in a pipe nobody has read yet.
func waiting(r *os.File) (n int) {
	conn, err := r.SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	if err != nil {
		return 0
	}
	return n
}

// linger sees to it that a pipe which something still has open is read.
func linger(r *os.File, path string, keep Collector) {
	defer r.Close()
	_ = r.SetReadDeadline(longAgo)
	if keep != nil && keep(r, path) == nil {
		return
	}
	_ = r.SetReadDeadline(time.Time{})
	_ = Keep(r, path)
}

// Keep reads a pipe to its end into the file at path: what a Collector's process
// does.
func Keep(pipe io.Reader, path string) error {
	file := beside(func() *Log { return Resume(path, Max) })
	defer file.End()
	_, err := io.Copy(file, pipe)
	return err
}

// Tail keeps the last Max bytes written to it. It is safe for concurrent use.
type Tail struct {
	Max int

	mu  sync.Mutex
	buf []byte
	cut bool
}

// Write implements io.Writer.
func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	if over := len(b) - t.Max; over > 0 {
		b, t.cut = b[over:], true
	}
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - t.Max; over > 0 {
		t.buf, t.cut = append(t.buf[:0], t.buf[over:]...), true
	}
	return n, nil
}

// String returns what was kept, trimmed.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	said := strings.TrimSpace(string(bytes.ToValidUTF8(t.buf, []byte("\uFFFD"))))
	if t.cut {
		return "…" + said
	}
	return said
}

// Head keeps the first Max bytes written to it, and takes the rest for nothing.
type Head struct {
	Max int
	buf []byte
}

// Write implements io.Writer.
func (h *Head) Write(b []byte) (int, error) {
	h.buf = append(h.buf, b[:min(len(b), h.Max-len(h.buf))]...)
	return len(b), nil
}

// Bytes returns what was kept.
func (h *Head) Bytes() []byte { return h.buf }

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

// settle is how many moments after a program's end what it has printed may take to
// be read, where something that it has left running goes on printing.
const (
	settle = 100
	moment = time.Millisecond
)

// Run runs a program to its end, with what it prints in the file at path, begun
// anew, and the end of that in last. A file that cannot be
// written, and a disk that does not answer, keep nothing from being run. keep may be nil: then what the program
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
	read, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer file.End()
		defer close(read)
		_, _ = io.Copy(io.MultiWriter(last, file), r) // its end is all that is expected of it
	}()
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	_ = w.Close()
	if err == nil {
		err = cmd.Wait()
	}
	for range settle {
		if ended(done) {
			_ = r.Close()
			return err
		}
		if waiting(r) == 0 && file.left.Load() == 0 {
			// The reader may have taken the program's last words, and not kept them
			// yet: it ends when it has.
			if r.SetReadDeadline(longAgo) == nil {
				<-read
			}
			break
		}
	}
	go linger(r, path, done, keep)
	return err
}

// ended waits a moment for a pipe to be read to its end.
func ended(done <-chan struct{}) bool {
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
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

// longAgo, as a deadline, ends a read that is under way.
var longAgo = time.Unix(1, 0)

// linger sees to it that a pipe which something still has open is read.
func linger(r *os.File, path string, done <-chan struct{}, keep Collector) {
	if r.SetReadDeadline(longAgo) == nil {
		<-done
		if keep == nil || keep(r, path) != nil {
			_ = r.SetReadDeadline(time.Time{})
			_ = Keep(r, path) // who printed is gone, whatever comes of it
		}
	}
	<-done
	_ = r.Close()
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

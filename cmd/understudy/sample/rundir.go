package sample

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// runDir is this host's own folder of a sample: who runs, and where it serves.
// The lock tells whether one runs; the kernel frees it when the process is
// gone, however it went.
type runDir string

func (d runDir) lockFile() string { return filepath.Join(string(d), "lock") }
func (d runDir) pidFile() string  { return filepath.Join(string(d), "pid") }
func (d runDir) urlFile() string  { return filepath.Join(string(d), "url") }
func (d runDir) logFile() string  { return filepath.Join(string(d), "log") }

// lockWait is how long a lock must be held to be somebody's who runs: whoever
// looks at it (running) has it for a moment.
const lockWait = 300 * time.Millisecond

// errRunning is what take returns where somebody runs.
var errRunning = errors.New("already running on this data")

// take takes the lock for a process that is to run. The lock is the open file's, and so
// of every process that has inherited it: it is free once the last one is gone.
func (d runDir) take(ctx context.Context) (*os.File, error) {
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return nil, fmt.Errorf("make run folder: %w", err)
	}
	f, err := os.OpenFile(d.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	over := time.NewTimer(lockWait)
	defer over.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if err = tryLock(f, unix.LOCK_EX); err == nil {
			break
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%w (lock %s is held)", errRunning, d.lockFile())
			select {
			case <-tick.C:
				continue
			case <-over.C:
			case <-ctx.Done():
			}
		}
		return nil, errors.Join(err, f.Close())
	}
	// What a process has left that was killed would be taken for what this one says.
	_ = os.Remove(d.urlFile())
	_ = os.Remove(d.pidFile())
	return f, nil
}

// inherited is the lock that the process which started this one has taken for it; nil:
// there is none.
func inherited() *os.File {
	fd, err := strconv.Atoi(os.Getenv(lockVariable))
	if err != nil {
		return nil
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "lock")
}

// lockVariable tells a process which of its files is the lock.
const lockVariable = "SAMPLE_LOCK"

// lock makes this process the one that runs, until release.
func (d runDir) lock(ctx context.Context) (release func(), err error) {
	l := inherited()
	if l == nil {
		if l, err = d.take(ctx); err != nil {
			return nil, err
		}
	}
	if err := d.write(d.pidFile(), strconv.Itoa(os.Getpid())); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return func() {
		// The files are hints beside the lock; leftovers do no harm.
		_ = os.Remove(d.urlFile())
		_ = os.Remove(d.pidFile())
		_ = l.Close()
	}, nil
}

// tryLock locks a file as flock(2) does, and does not wait.
func tryLock(f *os.File, how int) error {
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}

// running gives the pid of the process that holds the lock, or 0. A holder
// that has not written its pid yet counts as running with pid -1.
func (d runDir) running() (int, error) {
	f, err := os.OpenFile(d.lockFile(), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at lock: %w", err)
	}
	defer f.Close()
	switch err := tryLock(f, unix.LOCK_SH); {
	case err == nil:
		return 0, nil
	case !errors.Is(err, unix.EWOULDBLOCK):
		return 0, err
	}
	text, err := d.read(d.pidFile())
	if err != nil {
		return -1, err
	}
	if pid, err := strconv.Atoi(text); err == nil {
		return pid, nil
	}
	return -1, nil
}

func (d runDir) url() (string, error) { return d.read(d.urlFile()) }

func (d runDir) setURL(url string) error { return d.write(d.urlFile(), url) }

// read gives a small file's text, "" when it is missing.
func (d runDir) read(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read run file: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (d runDir) write(path, text string) error {
	if err := renameio.WriteFile(path, []byte(text+"\n"), 0o644, renameio.WithTempDir(string(d))); err != nil {
		return fmt.Errorf("write run file: %w", err)
	}
	return nil
}

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
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
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

// lock makes this process the one that runs, until release.
func (d runDir) lock(ctx context.Context) (release func(), err error) {
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return nil, fmt.Errorf("make run folder: %w", err)
	}
	l := flock.New(d.lockFile())
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	got, err := l.TryLockContext(ctx, look)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("lock %s: %w", d.lockFile(), err)
	}
	if !got {
		return nil, fmt.Errorf("already running on this data (lock %s is held)", d.lockFile())
	}
	if err := d.write(d.pidFile(), strconv.Itoa(os.Getpid())); err != nil {
		return nil, errors.Join(err, l.Unlock())
	}
	return func() {
		// The files are hints beside the lock; leftovers do no harm.
		_ = os.Remove(d.urlFile())
		_ = os.Remove(d.pidFile())
		_ = l.Unlock()
	}, nil
}

// running gives the pid of the process that holds the lock, or 0. A holder
// that has not written its pid yet counts as running with pid -1.
func (d runDir) running() (int, error) {
	l := flock.New(d.lockFile(), flock.SetFlag(os.O_RDWR))
	free, err := l.TryRLock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("look at lock %s: %w", d.lockFile(), err)
	case free:
		return 0, l.Unlock()
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

package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// lockPoll is how often a process asks for the lock while another has it.
const lockPoll = 2 * time.Millisecond

// clockStep is how far back the clock may go before stamps follow it.
const clockStep = time.Minute

// lock excludes all other writers of the store, in this process and others.
type lock struct {
	path string
	turn chan struct{} // holds one item while a goroutine of this process has the lock
}

func newLock(path string) *lock {
	return &lock{path: path, turn: make(chan struct{}, 1)}
}

// acquire waits for the lock. The caller calls release, once.
func (l *lock) acquire(ctx context.Context) (release func(), err error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the store's lock: %w", ctx.Err())
	}
	file, err := l.flock(ctx)
	if err != nil {
		<-l.turn
		return nil, err
	}
	return func() {
		// Closing the file frees the lock even when unlocking fails.
		_ = file.Close()
		<-l.turn
	}, nil
}

func (l *lock) flock(ctx context.Context) (*flock.Flock, error) {
	file := flock.New(l.path, flock.SetPermissions(filePerm))
	_, err := file.TryLockContext(ctx, lockPoll)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(l.path), dirPerm); err == nil {
			_, err = file.TryLockContext(ctx, lockPoll)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("lock the store: %w", err)
	}
	return file, nil
}

// stamp returns a time that no earlier version has, close to now. The caller
// holds the lock.
func (l *lock) stamp(now time.Time) (time.Time, error) {
	info, err := os.Stat(l.path)
	if err != nil {
		return time.Time{}, fmt.Errorf("read last stamp: %w", err)
	}
	last := info.ModTime()
	if behind := last.Sub(now); behind >= 0 && behind <= clockStep {
		now = last.Add(time.Nanosecond)
	}
	if err := os.Chtimes(l.path, now, now); err != nil {
		return time.Time{}, fmt.Errorf("write last stamp: %w", err)
	}
	return now, nil
}

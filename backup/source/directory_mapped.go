package source

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A program that has mapped a file shared writes to memory. The kernel sets the
// file's times when a page of it becomes dirty, and not again as long as the page
// is: what is written meanwhile shows in no time. So a dump has the file system
// write its dirty pages down before it reads a file. Whatever is written to a page
// after that sets the times once more, to a moment that the dump takes for its
// own, and the next dump reads the file again.

// settleTimeout bounds the wait for a disk that others keep busy.
const settleTimeout = time.Minute

// settling has file systems write their dirty pages down, one call at a time: it
// cannot be cut off.
type settling struct {
	busy chan struct{}
	sync func(fd int) error // unix.Syncfs, but in tests
	wait time.Duration
}

func newSettling() *settling {
	return &settling{busy: make(chan struct{}, 1), sync: unix.Syncfs, wait: settleTimeout}
}

// settle settles the file system of a folder. The error says what may be missing
// in the backup, which is no reason not to make it.
func (s *settling) settle(ctx context.Context, root string) error {
	const missing = "what programs have written to mapped files may not be in this backup"
	select {
	case s.busy <- struct{}{}:
	default:
		return fmt.Errorf("%s: the disk of %s has not written its dirty pages down since an earlier backup", missing, root)
	}
	dir, err := os.Open(root)
	if err != nil {
		<-s.busy
		return nil // the walk says so
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-s.busy }()
		err := s.sync(int(dir.Fd()))
		_ = dir.Close()
		done <- err
	}()
	timer := time.NewTimer(s.wait)
	defer timer.Stop()
	select {
	case err = <-done:
	case <-ctx.Done():
		return nil // the walk ends with it
	case <-timer.C:
		err = fmt.Errorf("not done within %v", s.wait)
	}
	if err != nil {
		return fmt.Errorf("%s: have the disk of %s write its dirty pages down: %w", missing, root, err)
	}
	return nil
}

// timeless tells whether a file system sets no times when a mapped file is
// written to, as those in memory do: nothing is ever written down there.
func timeless(root string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return false, &fs.PathError{Op: "look at the file system of", Path: root, Err: err}
	}
	switch int64(st.Type) {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.HUGETLBFS_MAGIC:
		return true, nil
	}
	return false, nil
}

package reading

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
)

// A program that has mapped a file shared writes to memory. The kernel sets the
// file's times when a page of it becomes dirty, and not again as long as the page
// is: what is written meanwhile shows in no time. So a dump has the dirty pages of
// each file written down before it reads the file. Whatever is written to a page
// after that sets the times once more, to a moment that the dump takes for its
// own, and the next dump reads the file again. A file that has not changed since an
// earlier dump read it needs nothing: its pages were clean then. Nor does one that
// nobody has open for writing: a mapping that is made later sets the times with its
// first write.

// Device is how writes to mapped files show on one file system.
type Device int

const (
	// byFile: a file's pages can be written down alone, at the cost of what is dirty.
	byFile Device = iota
	// ByWhole says that the whole file system has to be written down, with what others have
	// written there.
	ByWhole
	// Timeless says that nothing is ever written down, so that times say nothing.
	Timeless
)

// deviceOf tells it of an open file or folder.
func deviceOf(fd int) (Device, error) {
	var st unix.Statfs_t
	if _, err := opendir.Retry(func() (int, error) { return 0, unix.Fstatfs(fd, &st) }); err != nil {
		return ByWhole, err
	}
	switch int64(st.Type) {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.HUGETLBFS_MAGIC:
		return Timeless, nil
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC: // all of ext2, ext3 and ext4
		return byFile, nil
	}
	// Others may hand pages to a process of their own, compressed (btrfs), or keep
	// them in another file (overlayfs).
	return ByWhole, nil
}

// settleTimeout bounds the wait for a disk that others keep busy.
const settleTimeout = time.Minute

// Settling has dirty pages written down. A file system is written down by one call
// at a time, as that cannot be cut off.
type Settling struct {
	Busy chan struct{}
	Wait time.Duration

	// In tests, otherwise than here.
	Device func(fd int) (Device, error)
	Sync   func(fd int) error // of a file system
}

// NewSettling has no file system settle yet.
func NewSettling() *Settling {
	return &Settling{Busy: make(chan struct{}, 1), Sync: unix.Syncfs, Wait: settleTimeout, Device: deviceOf}
}

// whole settles the file system of an open file.
func (s *Settling) whole(ctx context.Context, fd int) error {
	select {
	case s.Busy <- struct{}{}:
	default:
		return errors.New("the disk has not written its dirty pages down since an earlier backup")
	}
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) // it outlives the wait
	if err != nil {
		<-s.Busy
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-s.Busy }()
		err := s.Sync(fd)
		_ = unix.Close(fd)
		done <- err
	}()
	timer := time.NewTimer(s.Wait)
	defer timer.Stop()
	select {
	case err = <-done:
	case <-ctx.Done():
		return nil // the dump ends with it
	case <-timer.C:
		err = fmt.Errorf("not done within %v", s.Wait)
	}
	if err != nil {
		return fmt.Errorf("have the disk write its dirty pages down: %w", err)
	}
	return nil
}

// Settled is what one dump has had written down.
type Settled struct {
	settling *Settling

	mu      sync.Mutex
	devices map[uint64]*SettledDevice
	failed  error // the first time
}

// SettledDevice is one file system that a dump has come by.
type SettledDevice struct {
	Device
	once sync.Once
}

// Begin starts a dump.
func (s *Settling) Begin() *Settled {
	return &Settled{settling: s, devices: map[uint64]*SettledDevice{}}
}

// Of looks at the file system that an open file or folder lies on, once.
func (s *Settled) Of(fd int, dev uint64) *SettledDevice {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[dev]
	if d == nil {
		is, err := s.settling.Device(fd)
		if err != nil {
			is = ByWhole
		}
		d = &SettledDevice{Device: is}
		s.devices[dev] = d
	}
	return d
}

// File has the pages of an open file written down, which is about to be read. What
// goes wrong is no reason not to read it.
func (s *Settled) File(ctx context.Context, fd int, dev uint64) {
	switch d := s.Of(fd, dev); d.Device {
	case Timeless:
	case byFile:
		if !heldForWriting(fd) {
			return
		}
		// A page is protected from writes, so that the next one sets the times, when
		// its writing begins: nobody waits for its end. One whose writing had begun
		// before may have been written to since: that one is waited for.
		_, err := opendir.Retry(func() (int, error) {
			return 0, unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE)
		})
		if err == nil {
			return
		}
		fallthrough
	default:
		// A later file waits for the same call.
		d.once.Do(func() { s.fail(s.settling.whole(ctx, fd)) })
	}
}

// heldForWriting tells whether somebody may have an open file open for writing, as whoever
// has it mapped to write to it does. The kernel grants a lease only on a file that
// nobody has; who opens it in that moment waits for it, and its first write sets the
// times. Where no lease can be had somebody may.
func heldForWriting(fd int) bool {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return true
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	return err != nil
}

func (s *Settled) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = err
	}
}

// Failure says what may be missing in the backup, and why; nil for nothing.
func (s *Settled) Failure(root string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		return nil
	}
	return fmt.Errorf("what programs have written to mapped files may not be in this backup: %s: %w", root, s.failed)
}

// DeviceAt is deviceOf for what is at a place.
func (s *Settling) DeviceAt(at fsx.Place) (Device, error) {
	if _, err := at.Stat(); err != nil {
		return ByWhole, err
	}
	fd, err := opendir.RetryOpen(at.Dir.FD(), at.Name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return ByWhole, &fs.PathError{Op: "look at the file system of", Path: at.Path(), Err: err}
	}
	defer unix.Close(fd)
	return s.Device(fd)
}

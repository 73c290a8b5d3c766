package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/postgrescluster/internal/wal"
)

// segments are the files that hold a log: a folder pg_wal. Log is written in place, where
// a server reads it as it comes.
type segments struct {
	dir      *fsx.Dir
	timeline uint32
	size     uint64
	who      owner
	open     *os.File // the segment that was written last
	name     string
	made     bool // a file was made since the last sync
}

// write writes log at a position.
func (s *segments) write(at wal.LSN, log []byte) error {
	for len(log) > 0 {
		off := uint64(at) % s.size
		n := min(uint64(len(log)), s.size-off)
		if err := s.use(wal.Segment(s.timeline, at, s.size)); err != nil {
			return err
		}
		if _, err := s.open.WriteAt(log[:n], int64(off)); err != nil {
			return err
		}
		log, at = log[n:], at+wal.LSN(n)
	}
	return nil
}

// use opens a segment, which is made where it is missing.
func (s *segments) use(name string) error {
	if s.name == name {
		return nil
	}
	if err := s.sync(); err != nil {
		return err
	}
	if err := s.close(); err != nil {
		return err
	}
	f, err := s.dir.Open(name, unix.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.make(name)
	}
	if err != nil {
		return err
	}
	s.open, s.name = f, name
	return nil
}

// make makes a segment, whole or not at all: the server could not go on with one that is
// short, or not its own. It removes what is left under the other name when it starts.
func (s *segments) make(name string) (*os.File, error) {
	part := "xlogtemp." + name
	f, err := s.dir.Anew(part)
	if err != nil {
		return nil, err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, int64(s.size))
	if fsx.Unsupported(err) {
		err = f.Truncate(int64(s.size))
	}
	if err == nil {
		err = s.who.give(int(f.Fd()))
	}
	if err == nil {
		err = s.dir.Rename(part, name)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make %s: %w", s.dir.Path(name), err), f.Close(), s.dir.Remove(part))
	}
	s.made = true
	return f, nil
}

// sync makes what was written durable.
func (s *segments) sync() error {
	if s.open == nil {
		return nil
	}
	if err := unix.Fdatasync(int(s.open.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", s.open.Name(), err)
	}
	if s.made {
		s.made = false
		return s.dir.Sync()
	}
	return nil
}

func (s *segments) close() error {
	if s.open == nil {
		return nil
	}
	err := s.open.Close()
	s.open, s.name = nil, ""
	return err
}

// read reads log.
func (s *segments) read(at wal.LSN, log []byte) error {
	for len(log) > 0 {
		off := uint64(at) % s.size
		n := min(uint64(len(log)), s.size-off)
		f, err := s.dir.Open(wal.Segment(s.timeline, at, s.size), unix.O_RDONLY)
		if err != nil {
			return err
		}
		_, err = f.ReadAt(log[:n], int64(off))
		if closed := f.Close(); err == nil || errors.Is(err, io.EOF) {
			err = errors.Join(err, closed)
		}
		if err != nil {
			return err
		}
		log, at = log[n:], at+wal.LSN(n)
	}
	return nil
}

// begun reports whether the segment that begins at a position is there, and was written to.
func (s *segments) begun(at wal.LSN) (bool, error) {
	page := make([]byte, wal.PageSize)
	err := s.read(at, page)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return wal.IsPage(page, at), err
}

// last finds the last record that is whole between two positions, of which the first is
// where a page begins.
func (s *segments) last(ctx context.Context, from, to wal.LSN) (wal.Record, error) {
	for window := wal.LSN(1 << 20); ; window *= 8 {
		if err := ctx.Err(); err != nil {
			return wal.Record{}, err
		}
		begin := from
		if window < to-from {
			begin = to - window
			begin -= begin % wal.PageSize
		}
		log := make([]byte, to-begin)
		if err := s.read(begin, log); err != nil {
			return wal.Record{}, err
		}
		r := wal.Last(log, begin, s.size)
		if r.End != 0 {
			return r, nil
		}
		if begin == from {
			return r, fmt.Errorf("there is no whole record in the log from %s to %s", from, to)
		}
	}
}

package source

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/pack"
)

// portion is what is read of one file.
type portion struct {
	file   *os.File
	data   []Extent
	stream pack.Stream
}

// fileCost is what a file counts at least, so that many small ones are not read
// in one go.
const fileCost = 4096

// read compares chunks from an offset on, until the budget is spent. next is the
// offset of the chunk that it stopped at.
func (p *portion) read(ctx context.Context, r *pack.Reader, from, budget int64) (next int64, ended, same bool, err error) {
	fd := int(p.file.Fd())
	// What is in memory says nothing of the disk; and others need the memory.
	forget := func() { _ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) } // advice
	forget()
	defer forget()
	var buf []byte
	for c, err := range r.Chunks(ctx, p.stream) {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return next, false, true, err
		}
		size := int64(c.Size)
		if next+size <= from {
			next += size
			continue
		}
		if budget <= 0 {
			return next, false, true, nil
		}
		if cap(buf) < c.Size {
			buf = make([]byte, c.Size)
		}
		src := &fileReader{fd: fd, path: p.file.Name(), data: skipped(p.data, next)}
		// What the disk cannot give any more is as bad as what it gives wrongly.
		if _, err := io.ReadFull(src, buf[:c.Size]); err != nil || !r.Is(c.ID, buf[:c.Size]) {
			return next, false, false, nil
		}
		next += size
		budget -= size
	}
	return next, true, true, nil
}

// skipped is what is left of a file's parts behind a number of their bytes.
func skipped(data []Extent, n int64) []Extent {
	for i, x := range data {
		if n < x.Length {
			return append([]Extent{{Offset: x.Offset + n, Length: x.Length - n}}, data[i+1:]...)
		}
		n -= x.Length
	}
	return nil
}

// close closes the file, whose locks SQLite may need in this very process.
func (p *portion) close() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(p.file.Fd()), &st); err != nil {
		return errors.Join(err, p.file.Close())
	}
	openedHere.close(fileIDOf(&st), p.file)
	return nil
}

func countPassage(p *Passage, bytes int64) {
	p.Bytes += max(bytes, 0)
	p.Cost += max(bytes, fileCost)
}

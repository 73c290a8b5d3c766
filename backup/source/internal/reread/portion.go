package reread

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/opened"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// Portion is what is read of one file.
type Portion struct {
	File   *os.File
	Data   []tree.Extent
	Stream pack.Stream
}

// fileCost is what a file counts at least, so that many small ones are not read
// in one go.
const fileCost = 4096

// Compare compares chunks from an offset on, until the budget is spent. next is the
// offset of the chunk that it stopped at.
func (p *Portion) Compare(ctx context.Context, r *pack.Reader, from, budget int64) (next int64, ended, same bool, err error) {
	fd := int(p.File.Fd())
	// What is in memory says nothing of the disk; and others need the memory.
	forget := func() { _ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) } // advice
	forget()
	defer forget()
	var buf []byte
	for c, err := range r.Chunks(ctx, p.Stream) {
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
		src := &opendir.FileReader{Fd: fd, Path: p.File.Name(), Data: skipped(p.Data, next)}
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
func skipped(data []tree.Extent, n int64) []tree.Extent {
	for i, x := range data {
		if n < x.Length {
			return append([]tree.Extent{{Offset: x.Offset + n, Length: x.Length - n}}, data[i+1:]...)
		}
		n -= x.Length
	}
	return nil
}

// Close closes the file, whose locks SQLite may need in this very process.
func (p *Portion) Close() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(p.File.Fd()), &st); err != nil {
		return errors.Join(err, p.File.Close())
	}
	opened.Here.Close(opened.FileIDOf(&st), p.File)
	return nil
}

// Count counts bytes that were read of a file.
func Count(p *source.Passage, bytes int64) {
	p.Bytes += max(bytes, 0)
	p.Cost += max(bytes, fileCost)
}

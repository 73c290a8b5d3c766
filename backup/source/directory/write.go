package directory

import (
	"context"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// copyBuffer is what is written at a time.
const copyBuffer = 256 << 10

// writeFile makes a regular file with its content and metadata. One that cannot
// be had whole is left out, where the restore goes on at all.
func (p *planting) writeFile(ctx context.Context, t task, buf []byte) error {
	n := t.node
	fd, err := opendir.RetryOpen(t.in.FD, t.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return p.Bear(n, source.LeftOut, p.Failed("make", n, err))
	}
	err = p.writeWhole(ctx, fd, n, buf)
	if err == nil {
		err = p.SetMeta(fd, n, t.uid, t.gid)
		if err == nil {
			err = p.SetTime(t.in.FD, t.name, n)
		}
		// Some file systems tell only here that the disk is full.
		if closed := unix.Close(fd); err == nil && closed != nil {
			err = p.Failed("close", n, closed)
		}
		return err
	}
	_ = unix.Close(fd) // what went wrong before counts
	if borne := p.Bear(n, source.LeftOut, err); borne != nil {
		return borne
	}
	if err := unix.Unlinkat(t.in.FD, t.name, 0); err != nil {
		return p.Failed("remove what is not whole of", n, err)
	}
	return nil
}

func (p *planting) writeWhole(ctx context.Context, fd int, n *tree.Node, buf []byte) error {
	if n.Size == 0 {
		return nil
	}
	written, err := p.writeContent(ctx, fd, n, buf)
	if err == nil && written != n.Content.Size {
		err = fmt.Errorf("%d bytes instead of %d", written, n.Content.Size)
	}
	if err != nil {
		return p.Failed("write", n, err)
	}
	p.bytes.Add(n.Size)
	return nil
}

func (p *planting) writeContent(ctx context.Context, fd int, n *tree.Node, buf []byte) (int64, error) {
	end, err := p.large.of(ctx, n.Content.Size)
	if err != nil {
		return 0, err
	}
	defer end()
	content := p.r.Open(ctx, n.Content)
	defer content.Close()
	w := &fileWriter{fd: fd, sparse: n.Sparse > 0}
	if !w.sparse {
		_, err := io.CopyBuffer(w, content, buf)
		return w.size, err
	}
	var written int64
	for _, x := range n.Data {
		w.size = x.Offset
		part, err := io.CopyBuffer(w, io.LimitReader(content, x.Length), buf)
		written += part
		if err != nil {
			return written, err
		}
	}
	// Most end in a hole, or in zeros.
	return written, unix.Ftruncate(fd, n.Size)
}

// fileWriter writes an open file from its start, leaving holes if it is meant
// to have any.
type fileWriter struct {
	fd     int
	size   int64
	sparse bool
}

// holeSize is the unit of holes.
const holeSize = 64 << 10

var zeros [holeSize]byte

// Write implements io.Writer.
func (w *fileWriter) Write(p []byte) (int, error) {
	if !w.sparse {
		return w.put(p)
	}
	for done := 0; done < len(p); {
		piece := p[done:min(done+holeSize, len(p))]
		if string(piece) == string(zeros[:len(piece)]) {
			w.size += int64(len(piece))
		} else if n, err := w.put(piece); err != nil {
			return done + n, err
		}
		done += len(piece)
	}
	return len(p), nil
}

func (w *fileWriter) put(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n, err := opendir.Retry(func() (int, error) { return unix.Pwrite(w.fd, p[done:], w.size) })
		if err != nil {
			return done, err
		}
		done += n
		w.size += int64(n)
	}
	return len(p), nil
}

package postgrescluster

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// A base is a copy of the data folder, file by file: a tree as a directory's dump has it.
// Each file is a stream of its own, so pages lie where they lay in the base before, and
// what has not changed since is not stored again.

// base collects the files of a new base.
type base struct {
	w     chunks.Writer
	nodes []*tree.Node
	bytes int64
}

// take stores what the server sends.
func (b *base) take(ctx context.Context) func(*tar.Header, io.Reader) error {
	return func(h *tar.Header, content io.Reader) error {
		name := path.Clean(h.Name)
		if !fs.ValidPath(name) {
			return fmt.Errorf("the server sends a file of the name %q", h.Name)
		}
		n := &tree.Node{Path: name, Mode: uint32(h.Mode) & 0o7777, ModTime: h.ModTime.UTC().Truncate(time.Second)}
		switch h.Typeflag {
		case tar.TypeDir:
			n.Type = tree.Directory
		case tar.TypeReg:
			stored, err := b.w.Write(ctx, content, pack.Files)
			if err != nil {
				return err
			}
			n.Type, n.Size, n.Content = tree.RegularFile, stored.Size, stored
			b.bytes += stored.Size
		default:
			return fmt.Errorf("the server sends %s, which is neither a file nor a folder: a tablespace outside of the data folder is not supported", name)
		}
		b.nodes = append(b.nodes, n)
		return nil
	}
}

// write writes the list of the files.
func (b *base) write(ctx context.Context, mode uint32) (pack.Stream, error) {
	all := append(b.nodes, &tree.Node{Path: ".", Type: tree.Directory, Mode: mode})
	slices.SortFunc(all, func(x, y *tree.Node) int { return comparePaths(x.Path, y.Path) })
	all = slices.CompactFunc(all, func(x, y *tree.Node) bool { return x.Path == y.Path })
	return writeNodes(ctx, b.w, func(e *tree.Encoder) error {
		for _, n := range all {
			if err := e.Write(n); err != nil {
				return err
			}
		}
		return nil
	})
}

func comparePaths(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == ".":
		return -1
	case b == ".":
		return 1
	}
	return tree.ComparePaths(a, b)
}

// keepBase carries the base of the backup before over. What is due for renewal is read
// from there, and stored again.
func keepBase(ctx context.Context, w chunks.Writer, r chunks.Reader, root pack.Stream) (pack.Stream, error) {
	return writeNodes(ctx, w, func(e *tree.Encoder) error {
		for n, err := range tree.Of(ctx, r, root) {
			if err == nil && n.Type == tree.RegularFile {
				n.Content, err = keep(ctx, w, r, n.Content)
			}
			if err == nil {
				err = e.Write(n)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// keep carries a stream over, or stores it again.
func keep(ctx context.Context, w chunks.Writer, r chunks.Reader, s pack.Stream) (pack.Stream, error) {
	if w.Keep(s) {
		return s, nil
	}
	content := r.Open(ctx, s)
	defer content.Close()
	again, err := w.Write(ctx, content, pack.Files)
	if err == nil && again.Size != s.Size {
		err = fmt.Errorf("%d bytes instead of %d", again.Size, s.Size)
	}
	return again, err
}

// writeNodes stores the list that encode writes.
func writeNodes(ctx context.Context, w chunks.Writer, encode func(*tree.Encoder) error) (pack.Stream, error) {
	return writeList(ctx, w, func(to io.Writer) error {
		e, err := tree.NewEncoder(to)
		if err == nil {
			err = encode(e)
		}
		if err == nil {
			err = e.Flush()
		}
		return err
	})
}

// writeList stores what encode writes, as metadata.
func writeList(ctx context.Context, w chunks.Writer, encode func(io.Writer) error) (pack.Stream, error) {
	from, to := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		to.CloseWithError(encode(to))
	}()
	s, err := w.Write(ctx, from, pack.Metadata)
	from.CloseWithError(err)
	<-done
	return s, err
}

// owner is whom files are given to.
type owner struct{ uid, gid int }

// give gives an open file or folder away, as far as this process may.
func (o owner) give(fd int) error {
	if unix.Geteuid() != 0 {
		return nil
	}
	return unix.Fchown(fd, o.uid, o.gid)
}

// plant writes a base to an empty folder, which nobody else can enter yet: it gets its
// owner and its mode from finish.
func plant(ctx context.Context, r chunks.Reader, e source.Entry, to *fsx.Dir, who owner) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(plantings)
	folders := map[string]*fsx.Dir{".": to}
	err := plantNodes(ctx, r, e.Root, folders, who, group)
	if waited := group.Wait(); err == nil || waited != nil {
		err = waited
	}
	for name, d := range folders {
		if name != "." {
			d.Close()
		}
	}
	if err != nil {
		return err
	}
	return unarmed(to, slotName(e.Name, ""), who)
}

// plantings is how many files are written at a time.
const plantings = 4

func plantNodes(ctx context.Context, r chunks.Reader, root pack.Stream, folders map[string]*fsx.Dir, who owner, group *errgroup.Group) error {
	for n, err := range tree.Of(ctx, r, root) {
		if err != nil {
			return err
		}
		if n.Path == "." {
			continue
		}
		in, ok := folders[path.Dir(n.Path)]
		if !ok {
			return fmt.Errorf("%w: %s has no folder", tree.ErrMalformed, n.Path)
		}
		name := path.Base(n.Path)
		switch n.Type {
		case tree.Directory:
			made, err := in.Make(name)
			if err != nil {
				return err
			}
			folders[n.Path] = made
			if err := finishDir(made, n.Mode, who); err != nil {
				return err
			}
		case tree.RegularFile:
			group.Go(func() error { return plantFile(ctx, r, n, in, name, who) })
		default:
			return fmt.Errorf("%w: %s is neither a file nor a folder", tree.ErrMalformed, n.Path)
		}
	}
	return ctx.Err()
}

// finishDir gives a folder to its owner.
func finishDir(d *fsx.Dir, mode uint32, who owner) error {
	if err := who.give(d.FD()); err != nil {
		return fmt.Errorf("give %s to its owner: %w", d.Path(), err)
	}
	if err := unix.Fchmod(d.FD(), mode); err != nil {
		return fmt.Errorf("set the mode of %s: %w", d.Path(), err)
	}
	return nil
}

func plantFile(ctx context.Context, r chunks.Reader, n *tree.Node, in *fsx.Dir, name string, who owner) (err error) {
	f, err := in.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	if err := chunks.Copy(ctx, r, n.Content, f); err != nil {
		return fmt.Errorf("write %s: %w", strings.TrimPrefix(f.Name(), "./"), err)
	}
	if err := who.give(int(f.Fd())); err != nil {
		return fmt.Errorf("give %s to its owner: %w", f.Name(), err)
	}
	return f.Chmod(fs.FileMode(n.Mode & 0o777))
}

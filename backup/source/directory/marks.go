package directory

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// A stage has a mark an entry, in the order of its list: what changes when
// somebody writes to the entry, puts another in its place, or removes it. They are
// what the change check of a dump looks at, as it was when the entry was written.

// mark is a digest of that; noMark is none's.
type mark uint64

const noMark mark = 0

const markSize = 8 // in a file

// markOf is the mark of an entry as it is now.
func markOf(st *unix.Stat_t, root bool) mark {
	h := fnv.New64a()
	kind := st.Mode & unix.S_IFMT
	var b [8 * 9]byte
	fields := []int64{int64(st.Ino), int64(st.Mode), int64(st.Uid), int64(st.Gid), st.Mtim.Sec, st.Mtim.Nsec}
	if kind != unix.S_IFDIR {
		fields = append(fields, st.Size)
	}
	// A swap renames the tree itself, and another name of a file may come and go.
	if !root && (kind == unix.S_IFDIR || st.Nlink == 1) {
		fields = append(fields, st.Ctim.Sec, st.Ctim.Nsec)
	}
	for i, v := range fields {
		binary.LittleEndian.PutUint64(b[8*i:], uint64(v))
	}
	_, _ = h.Write(b[:8*len(fields)])
	return max(mark(h.Sum64()), 1)
}

// statDeep is Fstatat for paths of any length. What is missing has no mark.
func statDeep(root *opendir.Dir, path string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	err := root.Stat(path, &st)
	if err == unix.ENAMETOOLONG {
		err = atLongPath(root.FD, path, func(at int, name string) error {
			return unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		})
	}
	switch err {
	case nil:
		return &st, nil
	case unix.ENOENT, unix.ENOTDIR:
		return nil, nil //nolint:nilnil // there is none
	}
	return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
}

// atLongPath goes down a path of any length to the folder of its last name.
func atLongPath(at int, path string, look func(at int, name string) error) error {
	var opened []int
	defer func() {
		for _, fd := range opened {
			_ = unix.Close(fd)
		}
	}()
	for {
		name, rest, more := strings.Cut(path, "/")
		if !more {
			return look(at, name)
		}
		fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		opened = append(opened, fd)
		at, path = fd, rest
	}
}

func markAt(root *opendir.Dir, path string) (mark, error) {
	st, err := statDeep(root, path)
	if err != nil || st == nil {
		return noMark, err
	}
	return markOf(st, path == "."), nil
}

// Inspect implements Inspector. A stage without marks is damaged.
func (d *Source) Inspect(ctx context.Context) (found source.Inspection, err error) {
	err = d.do(func(p stage.Placement) error {
		s := p.At()
		found, err = inspectStage(ctx, s)
		if errors.Is(err, fs.ErrNotExist) {
			found, err = source.Inspection{Damaged: 1, First: s.Path(s.Staged)}, nil
		}
		return err
	})
	if err != nil {
		return found, fmt.Errorf("look at the stage of %s: %w", d.name, err)
	}
	return found, nil
}

// inspectStage compares the stage with its marks.
func inspectStage(ctx context.Context, s *stage.Stage) (source.Inspection, error) {
	if s.In == nil {
		return source.Inspection{}, fs.ErrNotExist
	}
	stage, err := opendir.Open(fsx.Place{Dir: s.In, Name: s.Staged})
	if err != nil {
		return source.Inspection{}, err
	}
	defer stage.Release()
	list, err := tree.OpenList(s.In, s.List)
	if err != nil {
		return source.Inspection{}, err
	}
	defer list.Close()
	_, found, err := inspect(ctx, tree.Listed(list), s.In, s.Marks, stage)
	return found, err
}

// damage is which entries of a list are damaged, by their place in it.
type damage struct{ bits []uint64 }

func (d *damage) add(i int) {
	for len(d.bits) <= i/64 {
		d.bits = append(d.bits, 0)
	}
	d.bits[i/64] |= 1 << (i % 64)
}

func (d *damage) has(i int) bool { return i/64 < len(d.bits) && d.bits[i/64]&(1<<(i%64)) != 0 }

// marked is one entry with the mark that it should have.
type marked struct {
	number int
	path   string
	mark   mark
}

const inspectBatch = 512

// inspect compares a tree, which a list describes, with its marks.
func inspect(ctx context.Context, list tree.Nodes, in *fsx.Dir, marks string, root *opendir.Dir) (*damage, source.Inspection, error) {
	f, err := in.Open(marks, unix.O_RDONLY)
	if err != nil {
		return nil, source.Inspection{}, err
	}
	defer f.Close()
	var mu sync.Mutex
	bad, found := new(damage), source.Inspection{}
	group, ctx := errgroup.WithContext(ctx)
	batches := make(chan []marked, 16)
	group.Go(func() error {
		defer close(batches)
		return readMarked(ctx, list, bufio.NewReaderSize(f, 1<<16), batches)
	})
	for range max(2, runtime.GOMAXPROCS(0)) {
		group.Go(func() error {
			for batch := range batches {
				for _, c := range batch {
					is, err := markAt(root, c.path)
					if err != nil {
						return err
					}
					if is == c.mark && is != noMark {
						continue
					}
					mu.Lock()
					bad.add(c.number)
					if found.Damaged++; found.First == "" || c.path < found.First {
						found.First = c.path
					}
					mu.Unlock()
				}
				mu.Lock()
				found.Entries += int64(len(batch))
				mu.Unlock()
			}
			return nil
		})
	}
	return bad, found, group.Wait()
}

func readMarked(ctx context.Context, list tree.Nodes, marks io.Reader, batches chan<- []marked) error {
	batch := make([]marked, 0, inspectBatch)
	send := func() error {
		select {
		case batches <- batch:
			batch = make([]marked, 0, inspectBatch)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	number := 0
	for n, err := range list(ctx) {
		if err != nil {
			return err
		}
		m, err := readMark(marks)
		if err != nil {
			return err
		}
		batch = append(batch, marked{number, n.Path, m})
		number++
		if len(batch) == inspectBatch {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

// readMark reads the next mark; a file that is cut short has none.
func readMark(r io.Reader) (mark, error) {
	var b [markSize]byte
	switch _, err := io.ReadFull(r, b[:]); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return noMark, nil
	case err != nil:
		return noMark, err
	}
	return mark(binary.LittleEndian.Uint64(b[:])), nil
}

// writeMarks writes the marks of a tree that was just built.
func writeMarks(ctx context.Context, list tree.Nodes, dir, in *fsx.Dir, name string) error {
	return makeMarks(in, name, func(put func(mark) error) error {
		root, err := opendir.OpenHeld(dir)
		if err != nil {
			return err
		}
		defer root.Release()
		for n, err := range list(ctx) {
			if err != nil {
				return err
			}
			m, err := markAt(root, n.Path)
			if err == nil {
				err = put(m)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func makeMarks(in *fsx.Dir, name string, fill func(put func(mark) error) error) error {
	return in.Write(name, func(w *os.File) error {
		out := bufio.NewWriterSize(w, 1<<16)
		err := fill(func(m mark) error {
			var b [markSize]byte
			binary.LittleEndian.PutUint64(b[:], uint64(m))
			_, err := out.Write(b[:])
			return err
		})
		return errors.Join(err, out.Flush())
	})
}

// renewMarks writes the marks of a tree that was brought forward. A file that was
// not touched keeps its mark, whatever it is now: so what somebody did to it
// meanwhile shows the next time.
func (a *advance) renewMarks(ctx context.Context, in *fsx.Dir, old, name string) error {
	f, err := in.Open(old, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	before := bufio.NewReaderSize(f, 1<<16)
	return makeMarks(in, name, func(put func(mark) error) error {
		number := -1
		for p, err := range tree.Merge(a.whole(ctx), a.list(ctx)) {
			if err != nil {
				return err
			}
			was := noMark
			if p.A != nil {
				number++
				if was, err = readMark(before); err != nil {
					return err
				}
			}
			if p.B == nil {
				continue
			}
			m, err := a.newMark(a.top, p, was, number)
			if err == nil {
				err = put(m)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *advance) newMark(root *opendir.Dir, p tree.Pair, was mark, number int) (mark, error) {
	st, err := statDeep(root, p.B.Path)
	switch {
	case err != nil || st == nil:
		return noMark, err
	case p.A != nil && untouched(p) && !a.bad.has(number) && st.Nlink == 1:
		return was, nil
	}
	return markOf(st, p.B.Path == "."), nil
}

// untouched reports whether bringing a tree forward leaves an entry alone. What
// changes in a folder changes the folder too.
func untouched(p tree.Pair) bool {
	return p.B.Type != tree.Directory && p.B.Type != tree.HardLink && !otherEntry(p) && sameMeta(p.A, p.B)
}

// heal takes what is damaged out of the stage, and returns the list without it:
// what is not there is made anew. A folder that is there is only given its
// metadata again, and rid of what is not in the list.
func heal(ctx context.Context, list tree.Nodes, bad *damage, root *opendir.Dir, dir string) (tree.Nodes, error) {
	if len(bad.bits) == 0 {
		return list, nil
	}
	strays, err := removeDamaged(ctx, list, bad, root, dir)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) iter.Seq2[*tree.Node, error] {
		return func(yield func(*tree.Node, error) bool) {
			number := -1
			for n, err := range list(ctx) {
				number++
				if err == nil && bad.has(number) {
					if !strays[n.Path] {
						continue
					}
					again := *n
					again.Mode ^= 0o7777 // so that it is set again
					n = &again
				}
				if !yield(n, err) || err != nil {
					return
				}
			}
		}
	}, nil
}

// removeDamaged removes what is damaged, and what is in damaged folders and not in
// the list. It returns these folders.
func removeDamaged(ctx context.Context, list tree.Nodes, bad *damage, root *opendir.Dir, dir string) (map[string]bool, error) {
	folders := map[string]bool{}
	known := map[string]map[string]bool{} // what the list has in each
	number := -1
	for n, err := range list(ctx) {
		if err != nil {
			return nil, err
		}
		number++
		if in := filepath.Dir(n.Path); n.Path != "." && known[in] != nil {
			known[in][filepath.Base(n.Path)] = true
		}
		if !bad.has(number) {
			continue
		}
		st, err := statDeep(root, n.Path)
		if err == nil && st != nil && fsx.IsDir(*st) && n.Type == tree.Directory {
			folders[n.Path], known[n.Path] = true, map[string]bool{}
			continue
		}
		if err == nil && st != nil {
			err = removeBelow(ctx, root, dir, n.Path)
		}
		if err != nil {
			return nil, err
		}
	}
	for folder, names := range known {
		if err := removeStrays(ctx, root, dir, folder, names); err != nil {
			return nil, err
		}
	}
	return folders, nil
}

// removeBelow deletes what has a path below a folder, as far as that is possible.
func removeBelow(ctx context.Context, root *opendir.Dir, dir, path string) error {
	p, err := fsx.Below(root.FD, dir, path)
	if err != nil {
		return err
	}
	defer p.Close()
	_, err = fsx.DeleteTree(ctx, p.Dir, p.Name)
	return err
}

func removeStrays(ctx context.Context, root *opendir.Dir, dir, path string, known map[string]bool) error {
	p, err := fsx.Below(root.FD, dir, join(path, "."))
	if err != nil {
		return err
	}
	defer p.Close()
	names, err := p.Dir.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if known[name] {
			continue
		}
		left, err := fsx.DeleteTree(ctx, p.Dir, name)
		if err == nil {
			err = left.Err()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

package directory

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/opened"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
)

// found is something that a walk met.
type found struct {
	path string
	name string
	in   *opendir.Dir // where it is; nil for the root; hold it to use it later
	self *opendir.Dir // itself, of a folder
	stat unix.Stat_t
	// sides: a file lies beside it that SQLite would keep beside a database of
	// that name.
	sides bool
}

// walk visits a folder and everything beneath it in the canonical order of a
// tree, without what is excluded.
type walk struct {
	root    string    // its path, for people
	at      fsx.Place // where it is
	exclude []string  // doublestar patterns of relative paths
	guests  guests    // are left out too
	visit   func(*found) error
	fault   func(step, path string) error // called before a system call, in tests
	dirents []byte
}

// statBatch is how many names are looked at together. It bounds the memory
// that a folder with a million files takes, and is large enough to be shared
// out.
const statBatch = 1024

// statShare is the least that is worth a goroutine.
const statShare = 128

func (w *walk) run(ctx context.Context) error {
	w.dirents = make([]byte, 64<<10)
	root, err := opendir.Open(w.at)
	if err != nil {
		return err
	}
	defer root.Release()
	f := &found{path: ".", name: ".", self: root}
	if err := unix.Fstat(root.FD, &f.stat); err != nil {
		return &fs.PathError{Op: "stat", Path: w.root, Err: err}
	}
	was := opened.FileIDOf(&f.stat)
	if err := w.visit(f); err != nil {
		return err
	}
	if err := w.inside(ctx, root, "."); err != nil {
		return err
	}
	return w.stillThere(was)
}

// stillThere fails when the folder's path leads elsewhere than when the walk
// began: names that were not found may be found there.
func (w *walk) stillThere(was opened.FileID) error {
	now, err := w.at.Stat()
	if err != nil {
		return fmt.Errorf("look again: %w", err)
	}
	if was != opened.FileIDOf(&now) {
		return fmt.Errorf("%s was replaced by another folder, or another file system, while it was read", w.root)
	}
	return nil
}

// inside visits what is in one folder.
func (w *walk) inside(ctx context.Context, dir *opendir.Dir, at string) error {
	if err := w.fault("list", at); err != nil {
		return w.failed("list", at, err)
	}
	names, err := dir.Names(w.dirents)
	if opendir.Vanished(err) && at != "." {
		return nil // removed since it was opened
	}
	if err != nil {
		return w.failed("list", at, err)
	}
	names = w.included(at, names)
	mains := besideWhich(names)
	for len(names) > 0 {
		batch := names[:min(len(names), statBatch)]
		names = names[len(batch):]
		stats, errs := statAll(dir, batch)
		for i, name := range batch {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			if opendir.Vanished(errs[i]) {
				continue
			}
			if errs[i] != nil {
				return w.failed("stat", join(at, name), errs[i])
			}
			f := &found{path: join(at, name), name: name, in: dir, stat: stats[i], sides: mains[name]}
			if err := w.one(ctx, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// besideWhich finds the names beside which SQLite's files may lie.
func besideWhich(names []string) map[string]bool {
	var mains map[string]bool
	for _, name := range names {
		// All of them end in one of two letters.
		if last := name[len(name)-1]; last != 'l' && last != 'm' {
			continue
		}
		if main, ok := sqlitefile.MainOf(name); ok {
			if mains == nil {
				mains = map[string]bool{}
			}
			mains[main] = true
		}
	}
	return mains
}

func (w *walk) one(ctx context.Context, f *found) error {
	if f.stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return w.visit(f)
	}
	err := w.fault("open", f.path)
	if err == nil {
		f.self, err = f.in.OpenDir(f.name)
	}
	if opendir.Vanished(err) {
		return nil
	}
	if err != nil {
		return w.failed("open", f.path, err)
	}
	defer f.self.Release()
	if err := unix.Fstat(f.self.FD, &f.stat); err != nil {
		return w.failed("stat", f.path, err)
	}
	if err := w.visit(f); err != nil {
		return err
	}
	return w.inside(ctx, f.self, f.path)
}

// included drops the names that an exclude pattern matches, and the stage within
// a mount point.
func (w *walk) included(at string, names []string) []string {
	if len(w.exclude)+len(w.guests[at]) == 0 && at != "." {
		return names
	}
	kept := names[:0]
	for _, name := range names {
		if at == "." && name == stage.Folder {
			continue
		}
		if !w.guests.has(at, name) && !w.excludes(join(at, name)) {
			kept = append(kept, name)
		}
	}
	return kept
}

func (w *walk) excludes(p string) bool {
	for _, pattern := range w.exclude {
		if doublestar.MatchUnvalidated(pattern, p) {
			return true
		}
	}
	return false
}

func (w *walk) failed(op, at string, err error) error {
	return &fs.PathError{Op: op, Path: path.Join(w.root, at), Err: err}
}

// statAll looks at many names, with several goroutines when that pays: on a
// cold cache each one is a read from disk.
func statAll(dir *opendir.Dir, names []string) ([]unix.Stat_t, []error) {
	stats := make([]unix.Stat_t, len(names))
	errs := make([]error, len(names))
	var group sync.WaitGroup
	for from := 0; from < len(names); from += statShare {
		to := min(from+statShare, len(names))
		share := func() {
			for i := from; i < to; i++ {
				errs[i] = dir.Stat(names[i], &stats[i])
			}
		}
		if to == len(names) {
			share()
		} else {
			group.Go(share)
		}
	}
	group.Wait()
	return stats, errs
}

func join(folder, name string) string {
	if folder == "." {
		return name
	}
	return folder + "/" + name
}

package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/inodeflag"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/reading"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// Facts are what the manifest says of a single file.
type Facts struct {
	Size     int64        `json:"size"`
	Mode     uint32       `json:"mode"`
	UID      uint32       `json:"uid"`
	GID      uint32       `json:"gid"`
	User     string       `json:"user,omitempty"`  // the name of UID, which counts where it is known
	Group    string       `json:"group,omitempty"` // likewise
	Modified time.Time    `json:"modified"`
	Xattrs   []tree.Xattr `json:"xattrs,omitempty"`
	// Parents are the folders above the file, the nearest one first.
	Parents []meta.Parent `json:"parents,omitempty"`

	// On the host that dumped: whether it is still the file that was read. Changed
	// (ctime) is zero when it changed all the while.
	Inode   uint64    `json:"inode"`
	Changed time.Time `json:"changed"`
	Started time.Time `json:"started"` // the dump
}

// Dump implements Source.
func (s *Source) Dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	e, err := s.dump(ctx, w, prev)
	if err != nil {
		return source.Entry{}, fmt.Errorf("dump %s: %w", s.Called, err)
	}
	return e, nil
}

func (s *Source) dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	started := s.now()
	at, err := fsx.Resolve(s.Path)
	if err != nil {
		return source.Entry{}, err
	}
	defer at.Close()
	warnings, err := inodeflag.Warnings(at)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return source.Entry{}, err
	}
	if e, kept := s.keep(w, prev, at); kept {
		e.Warnings = warnings
		return e, nil
	}
	settled := s.settling.Begin()
	e, err := s.read(ctx, w, at, started, settled)
	if err := settled.Failure(at.Path()); err != nil {
		warnings = append(warnings, err.Error())
	}
	e.Warnings = append(warnings, e.Warnings...)
	return e, err
}

// keep takes the previous dump over when the file has not changed since. What
// goes wrong here goes wrong when the file is read, too.
func (s *Source) keep(w *pack.Writer, prev *source.Previous, at fsx.Place) (source.Entry, bool) {
	var facts Facts
	if prev == nil || prev.Entry.Kind != s.Kind() || json.Unmarshal(prev.Entry.Facts, &facts) != nil {
		return source.Entry{}, false
	}
	if is, err := s.settling.DeviceAt(at); is == reading.Timeless || err != nil {
		return source.Entry{}, false
	}
	if st, err := at.Stat(); err != nil || !facts.same(&st) || facts.describe(at) != nil {
		return source.Entry{}, false
	}
	e, err := s.entry(prev.Entry.Root, facts)
	return e, err == nil && w.Keep(e.Root)
}

// same reports whether a file is as it was when it was read: see
// oldTree.unchanged.
func (f *Facts) same(st *unix.Stat_t) bool {
	changed := meta.ChangeTime(st)
	return f.Size == st.Size && f.Inode == st.Ino && f.Modified.Equal(meta.ModTime(st)) &&
		f.Changed.Equal(changed) && changed.Before(f.Started.Add(-reading.Granularity))
}

// read reads the file, again if it changes meanwhile.
func (s *Source) read(ctx context.Context, w chunks.Writer, at fsx.Place, started time.Time, settled *reading.Settled) (source.Entry, error) {
	var last *reading.Growing
	var e source.Entry
	seed := maphash.MakeSeed()
	for try := 0; ; try++ {
		now := reading.NewGrowing(seed, last)
		root, facts, stable, err := readPlain(ctx, w, at, now, settled)
		if err != nil {
			return source.Entry{}, err
		}
		torn := !stable && !now.Follows(last)
		if torn && try < reading.MaxReads-1 {
			last = now
			continue
		}
		if facts.Started = started; !stable {
			facts.Changed = time.Time{} // so that the next backup reads it again
		}
		if err := facts.describe(at); err != nil {
			return source.Entry{}, err
		}
		if e, err = s.entry(root, facts); torn {
			e.Torn = []string{at.Name}
			e.Warnings = []string{fmt.Sprintf("%q changed each time it was read", at.Path())}
		}
		return e, err
	}
}

// readPlain reads a file once, and reports whether it stayed the same all the
// while.
func readPlain(ctx context.Context, w chunks.Writer, at fsx.Place, g *reading.Growing, settled *reading.Settled) (_ pack.Stream, facts Facts, stable bool, err error) {
	f, before, err := openPlain(at)
	if errors.Is(err, fs.ErrNotExist) {
		return pack.Stream{}, facts, false, missingFile(at.Path())
	}
	if err != nil {
		return pack.Stream{}, facts, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	settled.File(ctx, int(f.Fd()), uint64(before.Dev)) // so that what is written to it by a mapping shows later
	root, err := w.Write(ctx, g.Watch(io.LimitReader(f, before.Size)), pack.Files)
	if err != nil {
		return pack.Stream{}, facts, false, err
	}
	g.Whole = root.Size == before.Size
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return root, facts, false, &fs.PathError{Op: "stat", Path: at.Path(), Err: err}
	}
	facts = Facts{
		Size: root.Size, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
		Modified: meta.ModTime(&st), Inode: st.Ino, Changed: meta.ChangeTime(&st),
	}
	if facts.Xattrs, err = meta.ReadXattrs(int(f.Fd())); err != nil {
		return root, facts, false, &fs.PathError{Op: "read extended attributes of", Path: at.Path(), Err: err}
	}
	return root, facts, g.Whole && st.Size == before.Size && st.Mtim == before.Mtim && st.Ctim == before.Ctim, nil
}

// describe takes over what the file itself does not tell: its owner's names, and
// the folders above it.
func (f *Facts) describe(at fsx.Place) (err error) {
	names := meta.NewOwnerNames()
	f.User, f.Group = names.User(f.UID), names.Group(f.GID)
	f.Parents, err = meta.ParentsOf(at.Dir)
	return err
}

func (s *Source) entry(root pack.Stream, facts Facts) (source.Entry, error) {
	raw, err := json.Marshal(facts)
	if err != nil {
		return source.Entry{}, err
	}
	return source.Entry{Kind: s.Kind(), Name: s.Called, Size: root.Size, Root: root, Facts: raw}, nil
}

// Stage implements Restorer. The earlier stage stays until the new one is whole.
func (s *Source) Stage(ctx context.Context, r *pack.Reader, e source.Entry) error {
	return s.Do("stage", func(at *swap.File) error {
		var facts Facts
		if err := json.Unmarshal(e.Facts, &facts); err != nil {
			return fmt.Errorf("read facts: %w", err)
		}
		return at.Stage(facts.Parents, func(f *os.File) error { return facts.write(ctx, r, e, f) })
	})
}

// write fills a new file with what was dumped, and gives it its metadata.
func (f *Facts) write(ctx context.Context, r *pack.Reader, e source.Entry, to *os.File) error {
	if err := chunks.Copy(ctx, r, e.Root, to); err != nil {
		return err
	}
	if err := meta.GiveStage(ctx, to, e.Name, f.node(filepath.Base(to.Name()))); err != nil {
		return err
	}
	if err := meta.SetTime(to, f.Modified); err != nil {
		return &fs.PathError{Op: "set time of", Path: to.Name(), Err: err}
	}
	return nil
}

// sameFile tells whether two dumps are of the same metadata.
func sameFile(a, b source.Entry) bool {
	var x, y Facts
	if json.Unmarshal(a.Facts, &x) != nil || json.Unmarshal(b.Facts, &y) != nil {
		return false
	}
	return x.Mode == y.Mode && x.UID == y.UID && x.GID == y.GID && x.User == y.User && x.Group == y.Group &&
		x.Modified.Equal(y.Modified) && meta.SameXattrs(x.Xattrs, y.Xattrs)
}

// exportEntry writes the file, with its metadata.
func exportEntry(ctx context.Context, r *pack.Reader, e source.Entry, at fsx.Place) error {
	var facts Facts
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	return fsx.NewFile(at.Dir, at.Name, func(f *os.File) error {
		if err := chunks.Copy(ctx, r, e.Root, f); err != nil {
			return err
		}
		return errors.Join(meta.Give(ctx, f, e.Name, facts.node(at.Name), nil), meta.SetTime(f, facts.Modified))
	})
}

// node is the restored file.
func (f *Facts) node(name string) *tree.Node {
	return &tree.Node{
		Path: name, Type: tree.RegularFile, Mode: f.Mode,
		UID: f.UID, GID: f.GID, User: f.User, Group: f.Group, Xattrs: f.Xattrs,
	}
}

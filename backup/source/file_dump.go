package source

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
)

// fileFacts are what the manifest says of a single file.
type fileFacts struct {
	Size     int64     `json:"size"`
	Mode     uint32    `json:"mode"`
	UID      uint32    `json:"uid"`
	GID      uint32    `json:"gid"`
	User     string    `json:"user,omitempty"`  // the name of UID, which counts where it is known
	Group    string    `json:"group,omitempty"` // likewise
	Modified time.Time `json:"modified"`
	Xattrs   []Xattr   `json:"xattrs,omitempty"`
	// Parents are the folders above the file, the nearest one first.
	Parents []parent `json:"parents,omitempty"`

	// On the host that dumped: whether it is still the file that was read. Changed
	// (ctime) is zero when it changed all the while.
	Inode   uint64    `json:"inode"`
	Changed time.Time `json:"changed"`
	Started time.Time `json:"started"` // the dump
}

// Dump implements Source.
func (s *File) Dump(ctx context.Context, w *pack.Writer, prev *Previous) (Entry, error) {
	e, err := s.dump(ctx, w, prev)
	if err != nil {
		return Entry{}, fmt.Errorf("dump %s: %w", s.name, err)
	}
	return e, nil
}

func (s *File) dump(ctx context.Context, w *pack.Writer, prev *Previous) (Entry, error) {
	started := s.cfg.Now()
	at, err := fsx.Resolve(s.cfg.Path)
	if err != nil {
		return Entry{}, err
	}
	defer at.Close()
	warnings, err := flagWarnings(at)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Entry{}, err
	}
	if e, kept := s.keep(w, prev, at); kept {
		e.Warnings = warnings
		return e, nil
	}
	settled := s.settling.begin()
	e, err := s.read(ctx, w, at, started, settled)
	if err := settled.failure(at.Path()); err != nil {
		warnings = append(warnings, err.Error())
	}
	e.Warnings = append(warnings, e.Warnings...)
	return e, err
}

// keep takes the previous dump over when the file has not changed since. What
// goes wrong here goes wrong when the file is read, too.
func (s *File) keep(w *pack.Writer, prev *Previous, at fsx.Place) (Entry, bool) {
	var facts fileFacts
	if prev == nil || prev.Entry.Kind != s.Kind() || json.Unmarshal(prev.Entry.Facts, &facts) != nil {
		return Entry{}, false
	}
	if is, err := s.settling.deviceAt(at); is == timeless || err != nil {
		return Entry{}, false
	}
	if st, err := at.Stat(); err != nil || !facts.same(&st) || facts.describe(at) != nil {
		return Entry{}, false
	}
	e, err := s.entry(prev.Entry.Root, facts)
	return e, err == nil && w.Keep(e.Root)
}

// same reports whether a file is as it was when it was read: see
// oldTree.unchanged.
func (f *fileFacts) same(st *unix.Stat_t) bool {
	changed := changeTime(st)
	return f.Size == st.Size && f.Inode == st.Ino && f.Modified.Equal(modTime(st)) &&
		f.Changed.Equal(changed) && changed.Before(f.Started.Add(-granularity))
}

// read reads the file, again if it changes meanwhile.
func (s *File) read(ctx context.Context, w chunkWriter, at fsx.Place, started time.Time, settled *settled) (Entry, error) {
	var last *growing
	var e Entry
	seed := maphash.MakeSeed()
	for try := 0; ; try++ {
		now := newGrowing(seed, last)
		root, facts, stable, err := readPlain(ctx, w, at, now, settled)
		if err != nil {
			return Entry{}, err
		}
		torn := !stable && !now.follows(last)
		if torn && try < maxReads-1 {
			last = now
			continue
		}
		if facts.Started = started; !stable {
			facts.Changed = time.Time{} // so that the next backup reads it again
		}
		if err := facts.describe(at); err != nil {
			return Entry{}, err
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
func readPlain(ctx context.Context, w chunkWriter, at fsx.Place, g *growing, settled *settled) (_ pack.Stream, facts fileFacts, stable bool, err error) {
	f, before, err := openPlain(at)
	if errors.Is(err, fs.ErrNotExist) {
		return pack.Stream{}, facts, false, missingFile(at.Path())
	}
	if err != nil {
		return pack.Stream{}, facts, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	settled.file(ctx, int(f.Fd()), uint64(before.Dev)) // so that what is written to it by a mapping shows later
	root, err := w.Write(ctx, g.watch(io.LimitReader(f, before.Size)), pack.Files)
	if err != nil {
		return pack.Stream{}, facts, false, err
	}
	g.whole = root.Size == before.Size
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return root, facts, false, &fs.PathError{Op: "stat", Path: at.Path(), Err: err}
	}
	facts = fileFacts{
		Size: root.Size, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
		Modified: modTime(&st), Inode: st.Ino, Changed: changeTime(&st),
	}
	if facts.Xattrs, err = readXattrs(int(f.Fd())); err != nil {
		return root, facts, false, &fs.PathError{Op: "read extended attributes of", Path: at.Path(), Err: err}
	}
	return root, facts, g.whole && st.Size == before.Size && st.Mtim == before.Mtim && st.Ctim == before.Ctim, nil
}

// describe takes over what the file itself does not tell: its owner's names, and
// the folders above it.
func (f *fileFacts) describe(at fsx.Place) (err error) {
	names := newOwnerNames()
	f.User, f.Group = names.user(f.UID), names.group(f.GID)
	f.Parents, err = parentsOf(at.Dir)
	return err
}

func (s *File) entry(root pack.Stream, facts fileFacts) (Entry, error) {
	raw, err := json.Marshal(facts)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Kind: s.Kind(), Name: s.name, Size: root.Size, Root: root, Facts: raw}, nil
}

// Stage implements Restorer. The earlier stage stays until the new one is whole.
func (s *File) Stage(ctx context.Context, r *pack.Reader, e Entry) error {
	return s.do("stage", func(at *sqliteSite) error {
		var facts fileFacts
		if err := json.Unmarshal(e.Facts, &facts); err != nil {
			return fmt.Errorf("read facts: %w", err)
		}
		return at.stage(facts.Parents, func(f *os.File) error { return facts.write(ctx, r, e, f) })
	})
}

// write fills a new file with what was dumped, and gives it its metadata.
func (f *fileFacts) write(ctx context.Context, r *pack.Reader, e Entry, to *os.File) error {
	if err := copyStream(ctx, r, e.Root, to); err != nil {
		return err
	}
	if err := stageMeta(ctx, to, e.Name, f.node(filepath.Base(to.Name()))); err != nil {
		return err
	}
	if err := setTime(to, f.Modified); err != nil {
		return &fs.PathError{Op: "set time of", Path: to.Name(), Err: err}
	}
	return nil
}

// sameFile tells whether two dumps are of the same metadata.
func sameFile(a, b Entry) bool {
	var x, y fileFacts
	if json.Unmarshal(a.Facts, &x) != nil || json.Unmarshal(b.Facts, &y) != nil {
		return false
	}
	return x.Mode == y.Mode && x.UID == y.UID && x.GID == y.GID && x.User == y.User && x.Group == y.Group &&
		x.Modified.Equal(y.Modified) && sameXattrs(x.Xattrs, y.Xattrs)
}

// exportFile writes the file, with its metadata.
func exportFile(ctx context.Context, r *pack.Reader, e Entry, at fsx.Place) error {
	var facts fileFacts
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	return newFile(at.Dir, at.Name, func(f *os.File) error {
		if err := copyStream(ctx, r, e.Root, f); err != nil {
			return err
		}
		return errors.Join(giveMeta(ctx, f, e.Name, facts.node(at.Name), nil), setTime(f, facts.Modified))
	})
}

// node is the restored file.
func (f *fileFacts) node(name string) *Node {
	return &Node{
		Path: name, Type: RegularFile, Mode: f.Mode,
		UID: f.UID, GID: f.GID, User: f.User, Group: f.Group, Xattrs: f.Xattrs,
	}
}

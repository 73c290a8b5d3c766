package directory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/opened"
	"github.com/understudy-ha/understudy/backup/source/internal/reading"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// read reads a regular file into chunks, again if it changes meanwhile. A file
// that vanished is marked as gone, any other failure is an error: a backup that
// silently lacks a file is worse than none.
func (j *dumpJob) read(ctx context.Context, it *dumpItem) error {
	err := j.readWhole(ctx, it)
	if err == errGone {
		it.gone, err = true, nil
	}
	return err
}

func (j *dumpJob) readWhole(ctx context.Context, it *dumpItem) error {
	if _, known := j.databases.old[it.node.Path]; known && j.databases.policy.wants(it.node.Path) {
		if done, err := j.readDatabase(ctx, it); done || err != nil {
			return err
		}
		if it.same {
			it.keep()
			it.flags = j.flags.kept(it, it.in)
			return nil
		}
	}
	var last *reading.Growing
	var stale error
	for try := 0; try < reading.MaxReads; {
		now := reading.NewGrowing(j.seed, last)
		stable, err := j.readOnce(ctx, it, now)
		if err == errDatabase {
			if done, err := j.readDatabase(ctx, it); done || err != nil {
				return err
			}
			continue // as a plain file, which does not come here again
		}
		if stale = nil; errors.Is(err, unix.ESTALE) {
			stale, last = err, nil // replaced by another host: its name says whether it is there
			try++
			continue
		}
		if err != nil || stable {
			return err
		}
		if now.Follows(last) {
			// So that the next backup reads it again.
			it.node.Changed = time.Time{}
			return nil
		}
		last = now
		try++
	}
	if stale != nil {
		return stale
	}
	it.node.Changed, it.torn = time.Time{}, true
	return nil
}

// errGone says that a file vanished: the file itself, not something in the
// store, whose error may look the same.
var errGone = errors.New("file is gone")

// readOnce reads a file as its name now leads to it, and reports whether it
// stayed the same all the while.
func (j *dumpJob) readOnce(ctx context.Context, it *dumpItem, g *reading.Growing) (stable bool, err error) {
	path := filepath.Join(j.root, it.node.Path)
	if err := j.d.fault("open", it.node.Path); err != nil {
		return false, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	// Not to hang if it has become a fifo.
	fd, err := opendir.RetryOpen(it.in.FD, it.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if opendir.Vanished(err) {
		return false, errGone
	}
	if err != nil {
		return false, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var before, after unix.Stat_t
	if err := unix.Fstat(fd, &before); err != nil {
		return false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if before.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, fmt.Errorf("read %s: it was a regular file a moment ago and is not any more", path)
	}
	n := &it.node
	if it.plain == "" && j.databases.policy.wants(n.Path) && sqlitefile.Is(fd) {
		return false, errDatabase
	}
	if j.settled != nil {
		j.settled.File(ctx, fd, uint64(before.Dev))
	}
	takeStat(n, &before)
	n.Inode, n.Changed = before.Ino, meta.ChangeTime(&before)
	it.id, it.links = opened.FileIDOf(&before), uint64(before.Nlink)
	wanted, err := takeExtent(n, fd, &before)
	if err != nil {
		return false, &fs.PathError{Op: "find holes in", Path: path, Err: err}
	}
	var old pack.Stream
	if it.old != nil {
		old = it.old.Content
	}
	if n.Content, err = j.content(ctx, fd, path, wanted, old, g); err != nil {
		return false, err
	}
	whole := clipNode(n, wanted)
	g.Whole = whole && len(wanted) <= 1 && n.Sparse == 0
	it.flags = j.flags.of(fd, it.id.Dev)
	if n.Xattrs, err = meta.ReadXattrs(fd); err != nil {
		return false, &fs.PathError{Op: "read extended attributes of", Path: path, Err: err}
	}
	if err := j.d.fault("check", it.node.Path); err != nil {
		return false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if err := unix.Fstat(fd, &after); err != nil {
		return false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return whole && before.Size == after.Size &&
		before.Mtim == after.Mtim && before.Ctim == after.Ctim, nil
}

func (j *dumpJob) content(ctx context.Context, fd int, path string, data []tree.Extent, old pack.Stream, g *reading.Growing) (pack.Stream, error) {
	if len(data) == 0 {
		return pack.Stream{}, nil
	}
	var size int64
	for _, x := range data {
		size += x.Length
	}
	end, err := j.large.of(ctx, size)
	if err != nil {
		return pack.Stream{}, err
	}
	defer end()
	if size >= largeFile {
		_ = unix.Fadvise(fd, 0, 0, unix.FADV_SEQUENTIAL) // one at a time is to be as fast as several
	}
	src := &opendir.FileReader{Fd: fd, Path: path, Data: data}
	var s pack.Stream
	if len(old.Chunks) == 0 {
		s, err = j.w.Write(ctx, g.Watch(src), pack.Files)
	} else {
		s, err = j.w.WriteOver(ctx, g.Watch(src), pack.Files, old)
	}
	if err != nil {
		return s, fmt.Errorf("back up %s: %w", path, err)
	}
	return s, nil
}

// writeTree writes the nodes of the queue as a tree.
func (j *dumpJob) writeTree(ctx context.Context, out io.Writer) error {
	enc, err := tree.NewEncoder(out)
	if err != nil {
		return err
	}
	for it := range j.queue {
		keep, err := j.finish(ctx, it)
		if err != nil {
			return err
		}
		if !keep {
			continue
		}
		j.count(it)
		if err := enc.Write(&it.node); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx) // the queue ended early
	}
	return enc.Flush()
}

// finish waits for an item to be read and reports whether it belongs into the
// tree.
func (j *dumpJob) finish(ctx context.Context, it *dumpItem) (bool, error) {
	if it.done != nil {
		select {
		case <-it.done:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	if it.later() {
		j.readLater(ctx, it)
		it.forget()
	}
	n := &it.node
	switch {
	case it.err != nil || it.gone:
		return false, it.err
	case it.main != nil && it.main.database && !it.main.gone:
		return false, nil // the database has what is in it
	case n.Type == 0:
		j.facts.Skipped++ // a socket: whoever listens makes it anew
		return false, nil
	case n.Type == tree.HardLink, n.Special() && it.links > 1 && j.isLink(it):
		return true, nil
	case n.Type != tree.Directory && it.links > 1:
		j.first[it.id] = firstName{path: n.Path, left: it.links - 1, database: it.database}
	}
	n.User, n.Group = j.names.User(n.UID), j.names.Group(n.GID)
	return true, nil
}

// readLater reads what could not be read before those that came before it.
func (j *dumpJob) readLater(ctx context.Context, it *dumpItem) {
	switch {
	case it.kept || it.main != nil && it.main.database:
	case it.main != nil || !j.isLink(it):
		// Its first name vanished, or is another file by now.
		it.err = j.read(ctx, it)
	}
}

// isLink makes the node a hard link to the file's first name, if that is in the tree.
func (j *dumpJob) isLink(it *dumpItem) bool {
	first, ok := j.first[it.id]
	if !ok || first.database && it.sides && j.hasPending(it) {
		return false
	}
	it.database = first.database
	it.node, it.flags = tree.Node{Path: it.node.Path, Type: tree.HardLink, Target: first.path}, 0
	if first.left--; first.left == 0 {
		delete(j.first, it.id)
	} else {
		j.first[it.id] = first
	}
	return true
}

// count takes an item into the facts.
func (j *dumpJob) count(it *dumpItem) {
	n, f := &it.node, &j.facts
	f.add(n)
	j.flags.add(n, it.flags)
	if n.Path == "." {
		f.RootMode = fmt.Sprintf("%04o", n.Mode)
	}
	if len(j.mounts) > 0 && n.Type != tree.Directory {
		j.countMounted(n.Path)
	}
	if it.database && n.Type == tree.RegularFile {
		f.Databases++
	}
	if it.plain != "" {
		j.warnings.add(fmt.Sprintf("the database %q is a plain copy, which may be of no use: %s", n.Path, it.plain))
	}
	if it.torn {
		f.Unstable++
		j.torn.add(n.Path)
		j.warnings.add(fmt.Sprintf("%q changed each time it was read", n.Path))
	}
}

// countMounted counts a file that lies on a file system of its own within the
// directory.
func (j *dumpJob) countMounted(name string) {
	for at := path.Dir(name); at != "."; at = path.Dir(at) {
		if slices.Contains(j.mounts, at) {
			if j.facts.Mounts == nil {
				j.facts.Mounts = map[string]int64{}
			}
			j.facts.Mounts[at]++
			return
		}
	}
}

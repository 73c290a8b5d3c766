package directory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/opened"
	"github.com/understudy-ha/understudy/backup/source/internal/reading"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
	"github.com/understudy-ha/understudy/backup/source/sqlite"
	"github.com/understudy-ha/understudy/backup/source/volume"
)

// Dump implements Source. Files are read by several goroutines, but stand in
// the tree in canonical order.
func (d *Source) Dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	if prev == nil || prev.Entry.Kind != d.Kind() {
		return d.dump(ctx, w, nil, nil)
	}
	return d.dump(ctx, w, prev.Reader, &prev.Entry)
}

func (d *Source) dump(ctx context.Context, w chunks.Writer, r chunks.Reader, prev *source.Entry) (source.Entry, error) {
	at, err := fsx.Resolve(d.cfg.Path)
	if err != nil {
		return source.Entry{}, fmt.Errorf("dump %s: %w", d.name, err)
	}
	defer at.Close()
	root := at.Path()
	// The walk is a few hundred names ahead of the tree, which bounds memory
	// and open folders. More readers than processors, as some wait for a disk.
	j := &dumpJob{
		d: d, w: w, root: root, at: at,
		old:       openOldTree(ctx, r, prev, d.frozen),
		queue:     make(chan *dumpItem, ahead),
		work:      make(chan *dumpItem, ahead),
		namesLeft: map[opened.FileID]uint64{},
		first:     map[opened.FileID]firstName{},
		names:     meta.NewOwnerNames(),
		seed:      maphash.MakeSeed(),
		large:     newTurn(),
		facts:     Facts{Path: d.cfg.Path, Started: d.cfg.Now().UTC()},
	}
	defer j.old.close()
	if !d.frozen {
		j.settled = d.settling.Begin()
	}
	if err := j.begin(); err != nil {
		return source.Entry{}, fmt.Errorf("dump %s: %w", d.name, err)
	}
	j.openDatabases(ctx, r, prev)
	j.flags.before = flagsBefore(prev)
	e, err := j.whole(ctx)
	if err != nil {
		return source.Entry{}, fmt.Errorf("dump %s: %w", d.name, err)
	}
	return e, nil
}

// whole is the dump, with the databases in the directory.
func (j *dumpJob) whole(ctx context.Context) (_ source.Entry, err error) {
	j.databases.scratch = j.d.cfg.Scratch
	if j.databases.scratch == "" && !j.databases.policy.Off {
		if j.databases.scratch, err = os.MkdirTemp("", "understudy-"); err != nil {
			return source.Entry{}, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(j.databases.scratch)) }()
	}
	if err := j.takeFirst(ctx); err != nil {
		return source.Entry{}, err
	}
	stream, err := j.run(ctx, max(4, runtime.GOMAXPROCS(0)+2))
	if err != nil {
		return source.Entry{}, err
	}
	extra, err := j.databases.store(ctx, j.w)
	if err != nil {
		return source.Entry{}, err
	}
	return j.entry(stream, extra)
}

// begin gathers the facts that the walk does not tell.
func (j *dumpJob) begin() (err error) {
	if there, err := j.at.Exists(); err != nil || !there {
		return cmp.Or(err, fmt.Errorf("directory %s is missing: %w", j.root, unix.ENOENT))
	}
	if j.facts.Parents, err = meta.ParentsOf(j.at.Dir); err != nil {
		return err
	}
	mounts, err := volume.ReadMounts()
	if err != nil {
		return err
	}
	for _, point := range volume.Within(j.root, mounts) {
		j.mounts = append(j.mounts, strings.TrimPrefix(point, j.root+"/"))
	}
	return nil
}

// dumpJob is one dump. The walk (one goroutine) decides what has to be read,
// readers read it, and one goroutine writes the tree, in the walk's order.
type dumpJob struct {
	d    *Source
	w    chunks.Writer
	root string    // its path, for people
	at   fsx.Place // where it is

	queue chan *dumpItem // in order
	work  chan *dumpItem // those of them that have to be read
	large turn

	databases directoryDatabases
	flags     flagTally
	seed      maphash.Seed     // of growing
	settled   *reading.Settled // of mapped files; nil where none changes

	// Of the walk:
	old       *oldTree
	namesLeft map[opened.FileID]uint64 // names not yet met of a file with several

	// Of the writing of the tree:
	first    map[opened.FileID]firstName
	names    *meta.OwnerNames
	mounts   []string // paths at which other file systems are mounted
	facts    Facts
	warnings warnings
	torn     warnings
}

type firstName struct {
	path string
	left uint64 // names not yet met
	// database says that it was taken as one.
	database bool
}

// dumpItem is one name on its way from the walk to the tree.
type dumpItem struct {
	node     tree.Node
	name     string
	in       *opendir.Dir
	id       opened.FileID
	links    uint64
	done     chan struct{} // closed when it has been read; nil when nothing was to be read
	err      error
	gone     bool // it vanished before it was read
	hardLink bool // a further name of a file that came before

	old   *tree.Node // what the previous dump has of it
	kept  bool       // it has not changed since
	sides bool       // SQLite's files lie beside it
	main  *dumpItem  // the file beside which it lies, if it may be one of SQLite's

	database bool   // it was taken as a database
	plain    string // why a database was not taken as one
	torn     bool   // it changed each time that it was read
	same     bool   // it has not changed, and is read all the same
	flags    uint32 // of the inode, which are not kept
}

// later tells that the tree's writer reads it, if anybody has to.
func (it *dumpItem) later() bool { return it.hardLink || it.main != nil }

// forget lets go of the folder that an item holds which the tree's writer reads;
// readers do so themselves.
func (it *dumpItem) forget() {
	if it.later() {
		it.in.Release()
	}
}

func (j *dumpJob) run(ctx context.Context, readers int) (pack.Stream, error) {
	var stream pack.Stream
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(j.queue)
		defer close(j.work)
		w := walk{root: j.root, at: j.at, exclude: j.d.cfg.Exclude, guests: j.d.guestsIn(j.root), fault: j.d.fault}
		w.visit = func(f *found) error { return j.meet(ctx, f) }
		return w.run(ctx)
	})
	for range readers {
		group.Go(func() error {
			for it := range j.work {
				if ctx.Err() == nil {
					it.err = j.read(ctx, it)
				}
				it.in.Release()
				close(it.done)
			}
			return nil
		})
	}
	tree, out := io.Pipe()
	group.Go(func() error {
		err := j.writeTree(ctx, out)
		out.CloseWithError(err)
		return err
	})
	group.Go(func() (err error) {
		stream, err = j.w.Write(ctx, tree, pack.Metadata)
		tree.CloseWithError(err)
		return err
	})
	err := group.Wait()
	for it := range j.queue { // what a failure left there
		it.forget()
	}
	return stream, err
}

// meet takes what the walk has found into the queue.
func (j *dumpJob) meet(ctx context.Context, f *found) error {
	it := &dumpItem{name: f.name, id: opened.FileIDOf(&f.stat), links: uint64(f.stat.Nlink)}
	it.node.Path = f.path
	takeStat(&it.node, &f.stat)
	var err error
	switch f.stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return j.meetFile(ctx, it, f)
	case unix.S_IFDIR:
		it.node.Type = tree.Directory
		it.flags = j.flags.of(f.self.FD, it.id.Dev)
		it.node.Xattrs, err = meta.ReadXattrs(f.self.FD)
	case unix.S_IFLNK:
		it.node.Type = tree.Symlink
		it.node.Target, err = f.in.Readlink(f.name)
	case unix.S_IFIFO:
		it.node.Type = tree.Fifo
	case unix.S_IFCHR:
		it.node.Type, it.node.Device = tree.CharDevice, uint64(f.stat.Rdev)
	case unix.S_IFBLK:
		it.node.Type, it.node.Device = tree.BlockDevice, uint64(f.stat.Rdev)
	}
	if opendir.Vanished(err) {
		return nil
	}
	if err == nil && it.node.Special() {
		// What has vanished since has none; nor has anything where /proc is missing.
		if it.node.Xattrs, err = meta.NamedXattrs(f.in, f.name).Read(); opendir.Vanished(err) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Join(j.root, f.path), err)
	}
	return send(ctx, j.queue, it)
}

// meetFile keeps a regular file that has not changed, and has it read
// otherwise.
func (j *dumpJob) meetFile(ctx context.Context, it *dumpItem, f *found) error {
	it.node.Type = tree.RegularFile
	it.old, it.sides = j.old.find(f.path), f.sides
	if f.sides {
		j.databases.mains[f.path] = it
	}
	if main, ok := sqlitefile.MainOf(f.path); ok && j.databases.mains[main] != nil {
		// Whether it belongs to a database is known once that is read.
		it.main, it.in, it.kept = j.databases.mains[main], f.in.Hold(), j.keepFile(it, f)
		return send(ctx, j.queue, it)
	}
	if it.links > 1 && j.isHardLink(it) {
		// Only the tree's writer knows whether the first name made it.
		it.hardLink, it.in = true, f.in.Hold()
		return send(ctx, j.queue, it)
	}
	if j.keepFile(it, f) {
		return send(ctx, j.queue, it)
	}
	it.in, it.done = f.in.Hold(), make(chan struct{})
	if err := send(ctx, j.work, it); err != nil {
		it.in.Release()
		return err
	}
	return send(ctx, j.queue, it)
}

// keepFile takes the previous dump's content of a file over that has not
// changed since.
func (j *dumpJob) keepFile(it *dumpItem, f *found) bool {
	old, st := it.old, &f.stat
	if old == nil || j.timeless(f) || !j.old.unchanged(old, st) || j.databases.maybe(old) || old.Content.Size > 0 && !j.w.Keep(old.Content) {
		return false
	}
	switch known := j.databases.old[old.Path]; {
	case known.Locked: // it may not be so any more
		it.same = true
		return false
	case known.Plain != "":
		it.plain = known.Plain
		j.databases.add(known, 0)
	}
	it.keep()
	it.node.Changed = meta.ChangeTime(st)
	it.flags = j.flags.kept(it, f.in)
	return true
}

// timeless tells that no times show what has changed in a file.
func (j *dumpJob) timeless(f *found) bool {
	return j.settled != nil && j.settled.Of(f.in.FD, uint64(f.stat.Dev)).Device == reading.Timeless
}

// unsettled says what the dump may lack.
func (j *dumpJob) unsettled() error {
	if j.settled == nil {
		return nil
	}
	return j.settled.Failure(j.root)
}

// keep takes over what the previous dump has of a file that has not changed.
func (it *dumpItem) keep() {
	n, old := &it.node, it.old
	n.Content = old.Content
	n.Xattrs = old.Xattrs // any change of them changes ctime
	n.Size, n.Sparse, n.Data = old.Size, old.Sparse, old.Data
	n.Inode, n.Changed = old.Inode, old.Changed
}

// isHardLink reports whether another name of the same file came before, and
// forgets a file when all its names have come.
func (j *dumpJob) isHardLink(it *dumpItem) bool {
	left, seen := j.namesLeft[it.id]
	switch {
	case !seen:
		j.namesLeft[it.id] = it.links - 1
	case left == 1:
		delete(j.namesLeft, it.id)
	default:
		j.namesLeft[it.id] = left - 1
	}
	return seen
}

func send[T any](ctx context.Context, to chan<- T, it T) error {
	select {
	case to <- it:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// takeStat takes over what a file's metadata tells of any node.
func takeStat(n *tree.Node, st *unix.Stat_t) {
	n.Mode = uint32(st.Mode) & 0o7777
	n.UID, n.GID = st.Uid, st.Gid
	n.ModTime = meta.ModTime(st)
}

// entry is what the manifest says of the dump.
func (j *dumpJob) entry(root pack.Stream, extra *pack.Stream) (source.Entry, error) {
	slices.Sort(j.databases.damaged.Damage)
	all := sqlite.DamageWarnings(j.databases.damaged.Damage)
	if err := j.unsettled(); err != nil {
		all = append(all, err.Error())
	}
	if err := j.old.failure(); err != nil {
		all = append(all, fmt.Sprintf("the previous list of files could not be read, so that every file after that was read: %v", err))
	}
	if text := j.flags.warning(j.d.cfg.Path); text != "" {
		all = append(all, text)
	}
	if n := j.facts.Skipped; n > 0 {
		all = append(all, fmt.Sprintf("%d sockets were skipped", n))
	}
	j.facts.Flags = &j.flags.now
	j.facts.Tables = j.databases.tables((&walk{exclude: j.d.cfg.Exclude, guests: j.d.guestsIn(j.root)}).leavesOut)
	facts, err := json.Marshal(j.facts)
	if err != nil {
		return source.Entry{}, err
	}
	return source.Entry{
		Kind: j.d.Kind(), Name: j.d.name,
		Size: j.facts.Bytes, Root: root, Extra: extra,
		Facts: facts, Warnings: append(all, j.warnings.list()...), Torn: j.torn.list(), Damaged: j.databases.damaged.Damage,
	}, nil
}

// warnings is a list with an end.
type warnings struct {
	first []string
	more  int
}

func (w *warnings) add(s string) {
	if len(w.first) < source.MaxWarnings {
		w.first = append(w.first, s)
	} else {
		w.more++
	}
}

func (w *warnings) list() []string {
	if w.more == 0 {
		return w.first
	}
	return append(w.first, fmt.Sprintf("and %d more", w.more))
}

// oldTree is the previous backup's tree, read in step with the walk.
type oldTree struct {
	stream  io.ReadCloser
	dec     *tree.Decoder
	node    *tree.Node // the next one
	err     error
	settled time.Time // what changed before then was read as it was left
	frozen  bool      // Directory.frozen
}

func openOldTree(ctx context.Context, r chunks.Reader, prev *source.Entry, frozen bool) *oldTree {
	if prev == nil {
		return &oldTree{err: io.EOF}
	}
	var facts Facts
	if err := json.Unmarshal(prev.Facts, &facts); err != nil {
		return &oldTree{err: fmt.Errorf("read facts: %w", err)}
	}
	stream := r.Open(ctx, prev.Root)
	return &oldTree{stream: stream, dec: tree.NewDecoder(stream), settled: facts.Started.Add(-reading.Granularity), frozen: frozen}
}

// find gives the regular file that had the path; nil for none. Paths come in
// canonical order.
func (o *oldTree) find(path string) *tree.Node {
	for o.err == nil {
		if o.node == nil {
			o.node, o.err = o.dec.Next()
			continue
		}
		c := tree.ComparePaths(o.node.Path, path)
		if c > 0 {
			return nil
		}
		n := o.node
		o.node = nil
		if c == 0 && n.Type == tree.RegularFile {
			return n
		}
	}
	return nil
}

// unchanged reports whether a file is as it was when it was read. Whatever
// writes to a file, or sets its times, sets ctime to the present, which nobody
// can choose; a file that changed while the previous backup was being made
// could have changed again, at the same time as far as its times tell.
func (o *oldTree) unchanged(n *tree.Node, st *unix.Stat_t) bool {
	if n.Size != st.Size || n.Inode != st.Ino || !n.ModTime.Equal(meta.ModTime(st)) {
		return false
	}
	if o.frozen {
		return meta.ModTime(st).Before(o.settled)
	}
	changed := meta.ChangeTime(st)
	return n.Changed.Equal(changed) && changed.Before(o.settled)
}

// failure tells why the tree could not be read to where the walk came.
func (o *oldTree) failure() error {
	if o.err == io.EOF {
		return nil
	}
	return o.err
}

func (o *oldTree) close() {
	if o.stream != nil {
		o.stream.Close()
	}
}

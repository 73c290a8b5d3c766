package directory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/opened"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
	"github.com/understudy-ha/understudy/backup/source/sqlite"
)

// DatabasePolicy says which SQLite databases in a directory are taken as such:
// as they stand in one transaction, without the files that SQLite keeps beside
// them. The zero value is all of them, known by their headers.
type DatabasePolicy struct {
	Off      bool
	Patterns []string // doublestar patterns of paths relative to the directory; none: all
}

// String names the policy: a backup remembers by which one it was made.
func (p DatabasePolicy) String() string {
	switch {
	case p.Off:
		return "off"
	case len(p.Patterns) > 0:
		return strings.Join(p.Patterns, "\n")
	}
	return "auto"
}

func (p DatabasePolicy) wants(path string) bool {
	if p.Off || len(p.Patterns) == 0 {
		return !p.Off
	}
	return slices.ContainsFunc(p.Patterns, func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, path) })
}

// databaseRecord is what a backup of a directory says of one database in it. The
// entry's extra stream has them, one in a line, in the order of the tree; the
// tree has the database as an ordinary file, which needs nothing beside it.
type databaseRecord struct {
	Path        string `json:"path"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Empty       bool   `json:"empty,omitempty"` // it has no table
	// Plain says why it was copied as an ordinary file, with what is beside it.
	Plain string `json:"plain,omitempty"`
	// Locked says that the reason was a lock: the next dump tries again, though
	// nothing has changed.
	Locked bool `json:"locked,omitempty"`
}

// readDatabases reads the records of a dumped directory.
func readDatabases(ctx context.Context, r chunks.Reader, e source.Entry) (all []databaseRecord, err error) {
	if e.Extra == nil {
		return nil, nil
	}
	stream := r.Open(ctx, *e.Extra)
	defer func() { err = errors.Join(err, stream.Close()) }()
	for dec := json.NewDecoder(stream); ; {
		var one databaseRecord
		switch err := dec.Decode(&one); {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("read the list of databases in %s: %w", e.Name, err)
		}
		all = append(all, one)
	}
}

// directoryDatabases are the databases that one dump of a directory takes.
type directoryDatabases struct {
	policy  DatabasePolicy
	scratch string
	same    bool                      // the previous dump had the same policy
	old     map[string]databaseRecord // of the previous dump

	first map[string]taken     // before the walk, by path
	mains map[string]*dumpItem // of the walk: files beside which SQLite's files lie

	checks *sqlite.SoundChecks
	before []string // Damaged of the previous dump

	mu      sync.Mutex
	new     []databaseRecord
	sizes   map[string]int64 // of those, by path
	damaged source.Findings
}

// sound notes what is wrong with a database.
func (d *directoryDatabases) sound(path string, damage []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.damaged.Add(path, source.Findings{Damage: damage})
}

func (d *directoryDatabases) add(r databaseRecord, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.new = append(d.new, r)
	d.sizes[r.Path] = size
}

// openDatabases reads what the previous dump says.
func (j *dumpJob) openDatabases(ctx context.Context, r chunks.Reader, prev *source.Entry) {
	d := &j.databases
	d.old, d.mains, d.sizes = map[string]databaseRecord{}, map[string]*dumpItem{}, map[string]int64{}
	if j.d.sound != nil {
		d.checks = j.d.sound.Begin(j.d.cfg.Now)
	}
	d.policy, j.facts.Policy = j.d.cfg.Databases, j.d.cfg.Databases.String()
	if prev == nil {
		return
	}
	d.before = prev.Damaged
	var facts Facts
	d.same = json.Unmarshal(prev.Facts, &facts) == nil && facts.Policy == j.facts.Policy
	all, err := readDatabases(ctx, r, *prev)
	if err != nil {
		j.warnings.add(fmt.Sprintf("the databases of the previous backup are not known, so that each one was read: %v", err))
		d.same = false
		return
	}
	for _, one := range all {
		d.old[one.Path] = one
	}
}

// store stores the records.
func (d *directoryDatabases) store(ctx context.Context, w chunks.Writer) (*pack.Stream, error) {
	if len(d.new) == 0 {
		return nil, nil
	}
	slices.SortFunc(d.new, func(a, b databaseRecord) int { return tree.ComparePaths(a.Path, b.Path) })
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, one := range d.new {
		if err := enc.Encode(one); err != nil {
			return nil, err
		}
	}
	s, err := w.Write(ctx, &lines, pack.Metadata)
	return &s, err
}

// maybe tells whether an unchanged file may be a database that the previous dump
// did not look for.
func (d *directoryDatabases) maybe(n *tree.Node) bool {
	return !d.same && wholePages(n.Size) && d.policy.wants(n.Path)
}

// errDatabase says that a file that was to be read is a database.
var errDatabase = errors.New("file is a database")

// readDatabase takes a database as it stands in one transaction. Where that
// cannot be done it says why, and the file is read as any other is.
func (j *dumpJob) readDatabase(ctx context.Context, it *dumpItem) (done bool, err error) {
	one, err := j.takenOf(ctx, it)
	if why, torn := notTaken(err); why != "" {
		it.plain, it.torn = why, torn
		j.databases.add(databaseRecord{Path: it.node.Path, Plain: why, Locked: isLocked(err)}, 0)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	it.database = true
	before := sqlite.OfPart(j.databases.before, it.node.Path)
	if one.same {
		n := &it.node
		n.Content, n.Size, n.Xattrs = it.old.Content, it.old.Size, it.old.Xattrs
		it.flags = j.flags.kept(it, it.in)
		j.databases.add(j.databases.old[n.Path], n.Size)
		j.databases.sound(n.Path, before)
		return true, nil
	}
	at, err := j.below(it.node.Path)
	if err == nil {
		defer at.Close()
		err = describeDatabase(&it.node, at, one.got)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, errGone
	}
	if err != nil {
		return false, err
	}
	look := one.got.Look
	it.id, it.links = look.ID(), uint64(look.Stat.Nlink)
	it.flags = j.flags.asked(it, it.in)
	j.databases.add(databaseRecord{Path: it.node.Path, Fingerprint: look.Print, Empty: one.got.Facts.Empty}, it.node.Size)
	j.databases.sound(it.node.Path, j.databases.checks.Damage(ctx, at, one.got, before))
	return true, nil
}

// hasPending tells whether SQLite keeps something for a database beside this one
// of its names.
func (j *dumpJob) hasPending(it *dumpItem) bool {
	at, err := j.below(it.node.Path)
	if err != nil {
		return false
	}
	defer at.Close()
	pending, err := sqlite.PendingBeside(at, it.id)
	if pending {
		j.warnings.add(fmt.Sprintf("the database %q has several names (hard links), and SQLite keeps beside this one what is not yet in it: the names are different files in this backup", it.node.Path))
	}
	return pending && err == nil
}

// describeDatabase makes a node of a stored database. Its ctime is not kept: it does not
// tell whether the database is still the one that was read.
func describeDatabase(n *tree.Node, at fsx.Place, got sqlite.Stored) error {
	f, err := at.Open()
	if err != nil {
		return err
	}
	defer opened.Here.Close(got.Look.ID(), f)
	xattrs, err := meta.ReadXattrs(int(f.Fd()))
	if err != nil {
		return &fs.PathError{Op: "read extended attributes of", Path: at.Path(), Err: err}
	}
	takeStat(n, &got.Look.Stat)
	n.Content, n.Size, n.Sparse, n.Data, n.Xattrs = got.Root, got.Root.Size, 0, nil, xattrs
	return nil
}

// notTaken says why a file with the header of a database is not taken as one;
// "" when err does not say so. torn: it was in use, so that a plain copy of it
// may be of no use.
func notTaken(err error) (why string, torn bool) {
	if errors.Is(err, sqlite.ErrDatabaseChanged) || errors.Is(err, unix.ENAMETOOLONG) {
		return err.Error(), true
	}
	switch sqlitefile.ResultCode(err) {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR:
		return "SQLite cannot read it: " + sqlitefile.Reason(err), false
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return "SQLite cannot open it here: " + sqlitefile.Reason(err), true
	}
	if isLocked(err) {
		return "the application keeps it locked: " + sqlitefile.Reason(err), true
	}
	return "", false
}

// isLocked reports that somebody else kept a database locked.
func isLocked(err error) bool {
	switch sqlitefile.ResultCode(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		return true
	}
	return false
}

// readable tells whether SQLite can read a database that nobody writes to.
func readable(ctx context.Context, at fsx.Place, id opened.FileID) error {
	f, err := at.Open()
	if err != nil {
		return err
	}
	defer opened.Here.Close(id, f)
	db, err := sqlitefile.OpenImmutable(f)
	if err != nil {
		return err
	}
	_, err = sqlitefile.QueryTexts(ctx, db, "SELECT count(*) FROM sqlite_schema")
	if sqlite.CannotOpen(err) {
		err = nil // its path is too long, which says nothing of it
	}
	return errors.Join(err, db.Close())
}

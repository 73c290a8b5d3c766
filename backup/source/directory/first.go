package directory

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/opened"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/sqlite"
)

// The databases in a directory are taken before its files: an application
// writes a file before the row that points to it, so each row of a database that
// came first finds its file. The walk takes over what was taken when it comes to
// the database. One that the previous dump does not know, other than in a first
// dump, is taken when the walk finds it.

// taken is what a database was like when it was taken.
type taken struct {
	id   opened.FileID
	same bool // as in the previous dump
	got  sqlite.Stored
	// locked says that its application kept it locked for as long as one waits.
	locked error
}

// firstAtOnce is how many databases are taken at the same time.
const firstAtOnce = 2

// takeFirst takes the databases that are known. One that cannot be taken is left
// to the walk, which says why, and does not wait once more for one that is locked.
func (j *dumpJob) takeFirst(ctx context.Context) error {
	if j.databases.policy.Off {
		return nil
	}
	paths, err := j.knownDatabases(ctx)
	if err != nil {
		return err
	}
	j.databases.first = make(map[string]taken, len(paths))
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(firstAtOnce)
	for _, p := range paths {
		group.Go(func() error {
			one, err := j.take(ctx, p)
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case isLocked(err):
				one = taken{locked: err}
			case err != nil:
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			j.databases.first[p] = one
			return nil
		})
	}
	return group.Wait()
}

// knownDatabases lists the databases of the previous dump; for want of one, those
// that a walk finds.
func (j *dumpJob) knownDatabases(ctx context.Context) (paths []string, err error) {
	guests := j.d.guestsIn(j.root)
	if j.databases.same {
		for p, one := range j.databases.old {
			if (one.Fingerprint != "" || one.Locked) && !guests.has(path.Dir(p), path.Base(p)) {
				paths = append(paths, p)
			}
		}
		return paths, nil
	}
	w := walk{root: j.root, at: j.at, exclude: j.d.cfg.Exclude, guests: guests, fault: noPathFault}
	w.visit = func(f *found) error {
		if f.stat.Mode&unix.S_IFMT == unix.S_IFREG && wholePages(f.stat.Size) && j.databases.policy.wants(f.path) && f.isDatabase() {
			paths = append(paths, f.path)
		}
		return nil
	}
	// What fails here fails again in the walk of the dump.
	if err := w.run(ctx); err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return paths, nil
}

// wholePages tells whether a file of this size may be a database.
func wholePages(size int64) bool {
	const smallest = 512 // page
	return size >= smallest && size%smallest == 0
}

// isDatabase looks at the header of a file.
func (f *found) isDatabase() bool {
	fd, err := fsx.OpenIn(f.in.FD, f.name, unix.O_RDONLY)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return sqlitefile.Is(fd)
}

// below finds what has a path in the directory, and holds the folder that it is in.
func (j *dumpJob) below(path string) (fsx.Place, error) {
	root, err := opendir.Open(j.at)
	if err != nil {
		return fsx.Place{}, err
	}
	defer root.Release()
	return fsx.Below(root.FD, j.root, path)
}

// take takes a database as it stands in one transaction, unless nothing was
// committed since the previous dump.
func (j *dumpJob) take(ctx context.Context, name string) (taken, error) {
	at, err := j.below(name)
	if err != nil {
		return taken{}, err
	}
	defer at.Close()
	if known := j.databases.old[name].Fingerprint; known != "" {
		st, err := at.Stat()
		if err != nil {
			return taken{}, err
		}
		print, err := sqlite.Fingerprint(at)
		if err != nil || print == known {
			return taken{id: opened.FileIDOf(&st), same: true}, err
		}
	}
	return j.takeAnew(ctx, name, at)
}

// lockedAgain is how long a database is waited for that the previous dump found
// locked: an application that keeps it so for good does not hold each backup up.
const lockedAgain = 10 * time.Second

// takeAnew takes a database whatever the previous dump has of it.
func (j *dumpJob) takeAnew(ctx context.Context, name string, at fsx.Place) (taken, error) {
	wait := sqlite.BusyTimeout
	if j.databases.old[name].Locked {
		wait = lockedAgain
	}
	one := &sqlite.Storing{W: j.w, At: at, Scratch: j.databases.scratch, Wait: cmp.Or(j.d.wait, wait)}
	if j.d.storing != nil {
		j.d.storing(one)
	}
	got, err := one.Store(ctx)
	if err == nil && got.Look.Quiet() {
		err = readable(ctx, at, got.Look.ID()) // nobody else has tried
	}
	return taken{id: got.Look.ID(), got: got}, err
}

// takenOf returns what was taken of a database; one that was not, or is another
// file by now, is taken.
func (j *dumpJob) takenOf(ctx context.Context, it *dumpItem) (taken, error) {
	one, ok := j.databases.first[it.node.Path]
	if one.locked != nil {
		return taken{}, one.locked
	}
	if !ok || one.id != it.id {
		var err error
		if one, err = j.take(ctx, it.node.Path); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = errGone
			}
			return taken{}, err
		}
	}
	if one.same && (it.old == nil || !j.w.Keep(it.old.Content)) {
		at, err := j.below(it.node.Path)
		if err != nil {
			return taken{}, err
		}
		defer at.Close()
		return j.takeAnew(ctx, it.node.Path, at)
	}
	return one, nil
}

package source

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// fileID is what all names of a file share.
type fileID struct{ dev, inode uint64 }

func fileIDOf(st *unix.Stat_t) fileID { return fileID{uint64(st.Dev), st.Ino} }

// openDatabases knows which databases SQLite has open in this process. When a
// process closes any descriptor of a file, the kernel drops the locks that it
// has on that file: those of SQLite on a database (where they do not belong to
// the descriptor), and on the shared memory beside it. So a descriptor is kept
// open until SQLite has closed the database.
type openDatabases struct {
	mu   sync.Mutex
	open map[fileID]*openDatabase
}

type openDatabase struct {
	users int
	later []*os.File // to be closed
}

var openedHere = openDatabases{open: map[fileID]*openDatabase{}}

// hold notes that SQLite has the database file open until release.
func (o *openDatabases) hold(at fsx.Place) (release func(), err error) {
	st, err := at.Stat()
	if err != nil {
		return nil, err
	}
	id := fileIDOf(&st)
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.open[id]
	if d == nil {
		d = &openDatabase{}
		o.open[id] = d
	}
	d.users++
	return sync.OnceFunc(func() { o.release(id, d) }), nil
}

func (o *openDatabases) release(id fileID, d *openDatabase) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d.users--; d.users > 0 {
		return
	}
	delete(o.open, id)
	for _, f := range d.later {
		_ = f.Close() // it was only read
	}
}

// close closes a descriptor of a database file, or of one beside it, that was
// only read: now, or as soon as it may be closed.
func (o *openDatabases) close(id fileID, f *os.File) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d := o.open[id]; d != nil {
		d.later = append(d.later, f)
		return
	}
	_ = f.Close()
}

// Package opened knows which database files SQLite has open in this process, so that
// nobody else closes a descriptor of one meanwhile.
package opened

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// FileID is what all names of a file share.
type FileID struct{ Dev, inode uint64 }

// FileIDOf is the identity of what was looked at.
func FileIDOf(st *unix.Stat_t) FileID { return FileID{uint64(st.Dev), st.Ino} }

// Databases knows which databases SQLite has open in this process. When a
// process closes any descriptor of a file, the kernel drops the locks that it
// has on that file: those of SQLite on a database (where they do not belong to
// the descriptor), and on the shared memory beside it. So a descriptor is kept
// open until SQLite has closed the database.
type Databases struct {
	mu   sync.Mutex
	open map[FileID]*database
}

type database struct {
	users int
	later []*os.File // to be closed
}

// Here are those that are open in this process.
var Here = Databases{open: map[FileID]*database{}}

// Hold notes that SQLite has the database file open until release.
func (o *Databases) Hold(at fsx.Place) (release func(), err error) {
	st, err := at.Stat()
	if err != nil {
		return nil, err
	}
	id := FileIDOf(&st)
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.open[id]
	if d == nil {
		d = &database{}
		o.open[id] = d
	}
	d.users++
	return sync.OnceFunc(func() { o.release(id, d) }), nil
}

func (o *Databases) release(id FileID, d *database) {
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

// Close closes a descriptor of a database file, or of one beside it, that was
// only read: now, or as soon as it may be closed.
func (o *Databases) Close(id FileID, f *os.File) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d := o.open[id]; d != nil {
		d.later = append(d.later, f)
		return
	}
	_ = f.Close()
}

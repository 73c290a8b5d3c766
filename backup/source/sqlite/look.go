package sqlite

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/opened"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
)

// DatabaseLook is what a look at a database file, and at what lies beside it,
// shows without SQLite.
type DatabaseLook struct {
	Print   string // see fingerprint
	Stat    unix.Stat_t
	header  []byte // and the head of the first page; shorter in a file that is too
	Pending bool   // a file beside it has something that belongs into it
	writing bool   // somebody is about to write to it
	Held    bool   // somebody has it open, as far as locks tell
}

// Quiet tells whether the file is the state, as nobody is about to change it.
func (l *DatabaseLook) Quiet() bool {
	return !l.Pending && !l.writing && l.pageSize() > 0 && l.Stat.Size%l.pageSize() == 0
}

// ID is the identity of the file.
func (l *DatabaseLook) ID() opened.FileID { return opened.FileIDOf(&l.Stat) }

// pageSize is what the header says; 0 for no header.
func (l *DatabaseLook) pageSize() int64 {
	if len(l.header) < headerSize || string(l.header[:len(sqlitefile.Magic)]) != sqlitefile.Magic {
		return 0
	}
	if size := int64(binary.BigEndian.Uint16(l.header[16:])); size != 1 {
		return size
	}
	return 64 << 10
}

// facts are those of a quiet database.
func (l *DatabaseLook) facts() Facts {
	f := Facts{
		PageSize: l.pageSize(), PageCount: l.Stat.Size / l.pageSize(), Size: l.Stat.Size, JournalMode: "delete",
		UserVersion:   int64(int32(binary.BigEndian.Uint32(l.header[60:]))),
		ApplicationID: int64(int32(binary.BigEndian.Uint32(l.header[68:]))),
	}
	if len(l.header) == headerSize+pageHeadSize {
		f.Empty = emptySchema(l.header[headerSize:])
	}
	if l.header[18] == 2 {
		f.JournalMode = "wal"
	}
	f.take(l.Stat)
	return f
}

// pageHeadSize is how long the head of a leaf page is.
const pageHeadSize = 8

// emptySchema tells whether the first page of a database, which begins with head,
// is the whole schema, and has nothing in it.
func emptySchema(head []byte) bool {
	const leaf = 13
	return head[0] == leaf && binary.BigEndian.Uint16(head[3:]) == 0
}

// take takes over the mode and the owner of the file.
func (f *Facts) take(st unix.Stat_t) {
	f.Mode, f.UID, f.GID = st.Mode&0o777, st.Uid, st.Gid
}

// LookAt looks at a database. The fingerprint comes first: what changes later
// shows in the next one.
func LookAt(at fsx.Place) (l DatabaseLook, err error) {
	if l.Print, err = Fingerprint(at); err != nil {
		return l, err
	}
	f, err := at.Open()
	if err != nil {
		return l, err
	}
	if err := unix.Fstat(int(f.Fd()), &l.Stat); err != nil {
		_ = f.Close()
		return l, &fs.PathError{Op: "stat", Path: at.Path(), Err: err}
	}
	defer opened.Here.Close(l.ID(), f)
	l.header = make([]byte, headerSize+pageHeadSize)
	n, err := io.ReadFull(f, l.header)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return l, err
	}
	l.header = l.header[:n]
	if l.Pending, err = PendingBeside(at, l.ID()); err != nil {
		return l, err
	}
	l.writing, l.Held = lockedBy(f)
	return l, nil
}

// PendingBeside tells whether a WAL or a journal beside a database has anything
// that may belong into it.
func PendingBeside(at fsx.Place, of opened.FileID) (bool, error) {
	wal, err := at.With("-wal").Stat()
	if err == nil && wal.Size > 0 {
		return true, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	journal, err := at.With("-journal").Open()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer opened.Here.Close(of, journal)
	// A journal that is kept for the next transaction begins with zeros.
	var first [1]byte
	n, err := journal.Read(first[:])
	if err != nil && err != io.EOF {
		return false, err
	}
	return n == 1 && first[0] != 0, nil
}

// SQLite locks these bytes of a database file, whether or not it has them: the
// pending byte, the reserved byte and the shared ones.
const lockStart, lockLength = 0x40000000, 2 + 510

// lockedBy asks who has locked a database: somebody who writes, and anybody at
// all. A file system that does not tell is taken to have both.
func lockedBy(f *os.File) (writing, held bool) {
	ask := func(kind int16) bool {
		lock := unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: lockStart, Len: lockLength}
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock)
		return err != nil || lock.Type != unix.F_UNLCK
	}
	return ask(unix.F_RDLCK), ask(unix.F_WRLCK)
}

// Package sqlitefile knows the file of a SQLite database: how it is told from others,
// what lies beside it, how SQLite opens it in a held directory, and whether it is sound.
package sqlitefile

import (
	"errors"
	"net/url"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"

	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
)

// Sides are what SQLite keeps beside a database. A WAL or a journal belongs to
// one database file: beside another it would destroy that one.
var Sides = []string{"-journal", "-wal", "-shm"}

// MainOf is the name of the database that a file would be SQLite's file beside.
func MainOf(name string) (string, bool) {
	for _, side := range Sides {
		if main, ok := strings.CutSuffix(name, side); ok && main != "" {
			return main, true
		}
	}
	return "", false
}

// Magic is what each SQLite database begins with.
const Magic = "SQLite format 3\x00"

// Is looks at the header of an open file.
func Is(fd int) bool {
	var head [len(Magic)]byte
	n, err := opendir.Retry(func() (int, error) { return unix.Pread(fd, head[:], 0) })
	return err == nil && n == len(head) && string(head[:]) == Magic
}

// OwnLocks makes SQLite's locks on database files survive when something else
// in this process reads such a file: a directory source, for one. And it has SQLite
// open files in held folders.
var OwnLocks = sync.OnceValue(func() error {
	if _, err := sqlite.OFDLocking(true); err != nil && !errors.Is(err, sqlite.ErrOFDLockingUnavailable) {
		return err
	}
	return openHeld()
})

// URI names a database file to the driver.
func URI(path, query string) string {
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query}).String()
}

const heldDirs = "/proc/self/fd/"

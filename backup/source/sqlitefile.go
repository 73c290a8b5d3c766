package source

import (
	"strings"

	"golang.org/x/sys/unix"
)

// sides are what SQLite keeps beside a database. A WAL or a journal belongs to
// one database file: beside another it would destroy that one.
var sides = []string{"-journal", "-wal", "-shm"}

// mainOf is the name of the database that a file would be SQLite's file beside.
func mainOf(name string) (string, bool) {
	for _, side := range sides {
		if main, ok := strings.CutSuffix(name, side); ok && main != "" {
			return main, true
		}
	}
	return "", false
}

// databaseMagic is what each SQLite database begins with.
const databaseMagic = "SQLite format 3\x00"

// isDatabase looks at the header of an open file.
func isDatabase(fd int) bool {
	var head [len(databaseMagic)]byte
	n, err := retry(func() (int, error) { return unix.Pread(fd, head[:], 0) })
	return err == nil && n == len(head) && string(head[:]) == databaseMagic
}

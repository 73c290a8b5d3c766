// Package archive is what is known of a dump of pg_dump's custom format: its head, its
// table of contents, the statements in it, and the plan by which two roles restore it.
// It asks no server.
package archive

import (
	"bytes"
	"fmt"
	"io"
)

// The head of pg_dump's custom format, as its WriteHead writes it:
//
//	"PGDMP", major, minor, revision, size of ints, size of offsets, format
//	compression: an int, or from version 1.15 on a byte
//	creation time: seven ints as in struct tm
//	name of the database, versions of server and pg_dump …
//
// An int is a byte for the sign and then its bytes, lowest first.
const (
	archiveMagic  = "PGDMP"
	archiveFixed  = len(archiveMagic) + 6
	archiveCustom = 1
)

// tm is where the fields of struct tm begin among the seven, with their
// bounds, and the value that they get: 1 January 2000, midnight.
var tm = [7]struct{ low, high, value int }{
	{0, 61, 0}, {0, 59, 0}, {0, 23, 0}, {1, 31, 1}, {0, 11, 0}, {70, 1000, 100}, {-1, 1, 0},
}

// Timeless passes an archive on with a creation time that is always the
// same: it is all that differs between two dumps of an unchanged database. An
// archive of a layout that is not known passes as it is.
func Timeless(r io.Reader) (io.Reader, error) {
	fixed := make([]byte, archiveFixed)
	if _, err := io.ReadFull(r, fixed); err != nil {
		return nil, fmt.Errorf("read head of the dump: %w", err)
	}
	if !bytes.HasPrefix(fixed, []byte(archiveMagic)) {
		return nil, fmt.Errorf("read head of the dump: it is not an archive of pg_dump's")
	}
	v := fixed[len(archiveMagic):]
	major, minor, width, format := v[0], v[1], int(v[3]), v[5]
	if major != 1 || width < 1 || width > 8 || format != archiveCustom {
		return io.MultiReader(bytes.NewReader(fixed), r), nil
	}
	compression := 1 + width
	if minor >= 15 {
		compression = 1
	}
	rest := make([]byte, compression+len(tm)*(1+width))
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, fmt.Errorf("read head of the dump: %w", err)
	}
	fixTime(rest[compression:], width)
	return io.MultiReader(bytes.NewReader(append(fixed, rest...)), r), nil
}

// fixTime overwrites seven ints that hold a time. Others it leaves alone.
func fixTime(b []byte, width int) {
	for i, field := range tm {
		if n := archiveInt(b[i*(1+width):], width); n < field.low || n > field.high {
			return
		}
	}
	for i, field := range tm {
		at := b[i*(1+width):][:1+width]
		clear(at)
		at[1] = byte(field.value)
	}
}

func archiveInt(b []byte, width int) int {
	n := 0
	for i := width; i > 0; i-- {
		n = n<<8 | int(b[i])
	}
	if b[0] != 0 {
		return -n
	}
	return n
}

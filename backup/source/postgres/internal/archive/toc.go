package archive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Entry is one object of a dump, as its table of contents has it.
type Entry struct {
	ID        int    // what pg_restore --use-list knows it by
	Kind      string // "TABLE", "FUNCTION", "TABLE DATA", "COMMENT"…
	Namespace string // its schema; "" where it has none
	Tag       string // its name; of a function with its arguments
	Owner     string
	section   int
	make      string // the statements that make it
	drop      string // the statement that drops it
	Needs     []int
}

// Sections, as the archive numbers them.
const (
	sectionPreData  = 2
	sectionData     = 3
	sectionPostData = 4
)

// Label names the entry, for people and for the setting trust.
func (e *Entry) Label() string {
	name := e.Tag
	if e.Namespace != "" {
		name = e.Namespace + "." + name
	}
	return strings.ToLower(e.Kind) + " " + name
}

// ReadTOC reads the table of contents of an archive of pg_dump's custom format.
func ReadTOC(path string) (entries []Entry, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if entries, err = parseTOC(f); err != nil {
		return nil, fmt.Errorf("read what is in the dump: %w", err)
	}
	return entries, nil
}

// tocReader reads the numbers and texts of an archive. Its first error stays.
type tocReader struct {
	in     *bufio.Reader
	width  int // of numbers, in bytes, without the sign
	offset int // of offsets
	minor  byte
	err    error
}

func parseTOC(in io.Reader) ([]Entry, error) {
	r := &tocReader{in: bufio.NewReaderSize(in, 1<<16)}
	head := r.bytes(archiveFixed)
	if r.err != nil || !bytes.HasPrefix(head, []byte(archiveMagic)) {
		return nil, errors.New("it is not an archive of pg_dump's")
	}
	v := head[len(archiveMagic):]
	r.minor, r.width, r.offset = v[1], int(v[3]), int(v[4])
	if v[0] != 1 || r.minor < 12 || r.minor > 16 || r.width < 1 || r.width > 8 || r.offset < 1 || r.offset > 8 || v[5] != archiveCustom {
		return nil, fmt.Errorf("its layout (%d.%d) is not known: is this program older than the dump?", v[0], r.minor)
	}
	if r.minor >= 15 {
		r.bytes(1) // compression
	} else {
		r.number()
	}
	for range tm {
		r.number()
	}
	for range 3 { // the database, and versions
		r.text()
	}
	var all []Entry
	for n := r.number(); n > 0 && r.err == nil; n-- {
		all = append(all, r.entry())
	}
	return all, r.err
}

func (r *tocReader) entry() (e Entry) {
	e.ID = r.number()
	r.number() // whether it has data
	r.text()   // catalogue and oid on the dumped server
	r.text()
	e.Tag, e.Kind = r.text(), r.text()
	e.section = r.number()
	e.make, e.drop = r.text(), r.text()
	r.text() // the COPY statement
	e.Namespace = r.text()
	r.text() // tablespace
	if r.minor >= 14 {
		r.text() // access method
	}
	if r.minor >= 16 {
		r.number() // kind of relation
	}
	e.Owner = r.text()
	r.text() // with oids
	for r.err == nil {
		text, some := r.maybe()
		if !some {
			break
		}
		var id int
		if _, err := fmt.Sscan(text, &id); err == nil {
			e.Needs = append(e.Needs, id)
		}
	}
	r.bytes(1 + r.offset) // where its data is
	return e
}

func (r *tocReader) bytes(n int) []byte {
	if r.err != nil {
		return nil
	}
	// What is not there takes no memory, whatever is said of its length.
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r.in, int64(n)); err != nil {
		r.err = fmt.Errorf("it is cut short: %w", err)
		return nil
	}
	return b.Bytes()
}

func (r *tocReader) number() int {
	b := r.bytes(1 + r.width)
	if r.err != nil {
		return 0
	}
	return archiveInt(b, r.width)
}

func (r *tocReader) text() string {
	text, _ := r.maybe()
	return text
}

// maybe reads a text that may be none.
func (r *tocReader) maybe() (string, bool) {
	n := r.number()
	if r.err != nil || n < 0 {
		return "", false
	}
	return string(r.bytes(n)), r.err == nil
}

package compare

import (
	"bufio"
	"bytes"
	"hash"
	"io"
)

// eachLine calls do with a text's lines, with their ends. A line that is longer
// than the buffer comes in parts, of which only one is the first and one the
// last.
func eachLine(r io.Reader, do func(line []byte, first, last bool) error) error {
	in := bufio.NewReaderSize(r, 256<<10)
	for first := true; ; {
		line, err := in.ReadSlice('\n')
		last := err != bufio.ErrBufferFull
		if err != nil && err != io.EOF && last {
			return err
		}
		if len(line) > 0 {
			if err := do(line, first, last); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		first = last
	}
}

// Tables of a dump that are none.
const (
	sequences    = "(sequences)"
	largeObjects = "(large objects)"
)

// rowParser takes the rows out of a script of pg_restore --data-only: those of
// COPY, one a line; sequences, one a statement; and large objects.
type rowParser struct {
	tables *rowTables
	bag    *rowBag
	row    hash.Hash // of the row that is being read
	table  uint32    // that is being copied
	copies bool
	object bool // inside a large object
}

// line takes in one line, or a part of one.
func (p *rowParser) line(line []byte, first, last bool) error {
	switch {
	case p.copies && first && string(line) == "\\.\n":
		p.copies = false
		return nil
	case p.copies:
		p.row.Write(line)
		if last {
			return p.add(p.table)
		}
		return nil
	case !first:
	case bytes.HasPrefix(line, []byte("COPY ")) && bytes.HasSuffix(line, []byte(" FROM stdin;\n")):
		p.copies, p.table = true, p.tables.number(copiedTable(string(line)))
	case bytes.HasPrefix(line, []byte("SELECT pg_catalog.setval(")):
		p.row.Write(line)
		return p.add(p.tables.number(sequences))
	case bytes.HasPrefix(line, []byte("SELECT pg_catalog.lo_open(")):
		p.object = true
	}
	if !p.object {
		return nil
	}
	p.row.Write(line)
	if first && bytes.HasPrefix(line, []byte("SELECT pg_catalog.lo_close(")) {
		p.object = false
		return p.add(p.tables.number(largeObjects))
	}
	return nil
}

// add ends a row.
func (p *rowParser) add(table uint32) error {
	err := p.bag.add(table, p.row.Sum(nil))
	p.row.Reset()
	return err
}

// copiedTable is the name in a COPY statement, quoted as it stands there.
func copiedTable(statement string) string {
	name := statement[len("COPY "):]
	quoted := false
	for i, r := range name {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			return name[:i]
		}
	}
	return name
}

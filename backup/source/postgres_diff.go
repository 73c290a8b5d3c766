package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// comparePostgres compares two dumps without a server: pg_restore writes each
// as a script, whose rows are compared as multisets.
func comparePostgres(ctx context.Context, c *comparison) (_ Difference, err error) {
	pgRestore, err := findPgRestore(ctx, c)
	if err != nil {
		return Difference{}, err
	}
	dir, err := os.MkdirTemp(c.opt.Scratch, "compare-")
	if err != nil {
		return Difference{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tables := newRowTables()
	var bags [2]*rowBag
	var schemas, roles [2][sha256.Size]byte
	for i, side := range []Side{c.a, c.b} {
		if schemas[i], err = schemaDigest(ctx, c, pgRestore, side); err != nil {
			return Difference{}, err
		}
		if roles[i], err = rolesDigest(ctx, side); err != nil {
			return Difference{}, err
		}
		if bags[i], err = readRows(ctx, c, pgRestore, side, tables, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return Difference{}, err
		}
	}
	var d Difference
	if schemas[0] != schemas[1] {
		d.Notes = append(d.Notes, "the schema differs: compare the output of pg_restore --schema-only -f - for both dumps")
	}
	if roles[0] != roles[1] {
		d.Notes = append(d.Notes, "roles, or settings of the database, differ")
	}
	if d.Tables, err = compareBags(ctx, tables, bags[0], bags[1]); err != nil {
		return Difference{}, err
	}
	d.Same = len(d.Tables) == 0 && len(d.Notes) == 0
	return d, nil
}

// findPgRestore finds a pg_restore that reads both dumps.
func findPgRestore(ctx context.Context, c *comparison) (tool, error) {
	major := 0
	for _, e := range []Entry{c.a.Entry, c.b.Entry} {
		var facts postgresFacts
		if err := json.Unmarshal(e.Facts, &facts); err != nil {
			return tool{}, fmt.Errorf("read facts: %w", err)
		}
		major = max(major, facts.Tool)
	}
	t, err := findTool(ctx, "pg_restore", major)
	if err != nil {
		return t, fmt.Errorf("the dumps differ, and their rows cannot be compared without pg_restore: %w", err)
	}
	return t, nil
}

// script calls read with the dump as pg_restore writes it.
func script(ctx context.Context, c *comparison, t tool, s Side, section string, read func(io.Reader) error) error {
	dump := &countedStream{ReadCloser: c.open(ctx, s, s.Entry.Root)}
	defer dump.Close()
	out, err := program{argv: []string{t.path, section, "-f", "-"}, env: childEnviron(), stdin: dump}.start(ctx)
	if err != nil {
		return err
	}
	err = read(out)
	err = errors.Join(err, out.Close())
	if err != nil && dump.err != nil {
		return dump.err // why pg_restore had too little to read
	}
	return err
}

// schemaDigest is of all statements that make the schema.
func schemaDigest(ctx context.Context, c *comparison, t tool, s Side) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	err = script(ctx, c, t, s, "--schema-only", func(r io.Reader) error {
		return eachLine(r, func(line []byte, _, _ bool) error {
			// Comments name versions, and \restrict a random word.
			if !bytes.HasPrefix(line, []byte("--")) && !bytes.HasPrefix(line, []byte(`\`)) {
				h.Write(line)
			}
			return nil
		})
	})
	return [sha256.Size]byte(h.Sum(nil)), err
}

// rolesDigest is of the second stream.
func rolesDigest(ctx context.Context, s Side) (sum [sha256.Size]byte, err error) {
	if s.Entry.Extra == nil {
		return sum, nil
	}
	h := sha256.New()
	err = copyStream(ctx, s.Reader, *s.Entry.Extra, h)
	return [sha256.Size]byte(h.Sum(nil)), err
}

// readRows puts every row of a dump into a bag of its own.
func readRows(ctx context.Context, c *comparison, t tool, s Side, tables *rowTables, dir string) (_ *rowBag, err error) {
	bag, err := newRowBag(dir)
	if err != nil {
		return nil, err
	}
	err = script(ctx, c, t, s, "--data-only", func(r io.Reader) error {
		p := rowParser{tables: tables, bag: bag, row: sha256.New()}
		return eachLine(r, p.line)
	})
	return bag, errors.Join(err, bag.close())
}

// Package compare compares two dumps of PostgreSQL databases, without a server: by what
// pg_restore writes of them.
package compare

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/internal/program"
)

// Dumps compares two dumps without a server: a pg_restore that is not older than major
// writes each as a script, whose rows are compared as multisets.
func Dumps(ctx context.Context, c *source.Comparison, major int) (_ source.Difference, err error) {
	pgRestore, err := pgclient.FindTool(ctx, "pg_restore", major)
	if err != nil {
		return source.Difference{}, fmt.Errorf("the dumps differ, and their rows cannot be compared without pg_restore: %w", err)
	}
	dir, err := os.MkdirTemp(c.Opt.Scratch, "compare-")
	if err != nil {
		return source.Difference{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tables := newRowTables()
	var bags [2]*rowBag
	var schemas, roles [2][sha256.Size]byte
	for i, side := range []source.Side{c.A, c.B} {
		if schemas[i], err = schemaDigest(ctx, c, pgRestore, side); err != nil {
			return source.Difference{}, err
		}
		if roles[i], err = rolesDigest(ctx, side); err != nil {
			return source.Difference{}, err
		}
		if bags[i], err = readRows(ctx, c, pgRestore, side, tables, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return source.Difference{}, err
		}
	}
	var d source.Difference
	if schemas[0] != schemas[1] {
		d.Notes = append(d.Notes, "the schema differs: compare the output of pg_restore --schema-only -f - for both dumps")
	}
	if roles[0] != roles[1] {
		d.Notes = append(d.Notes, "roles, or settings of the database, differ")
	}
	if d.Tables, err = compareBags(ctx, tables, bags[0], bags[1]); err != nil {
		return source.Difference{}, err
	}
	d.Same = len(d.Tables) == 0 && len(d.Notes) == 0
	return d, nil
}

// script calls read with the dump as pg_restore writes it.
func script(ctx context.Context, c *source.Comparison, t pgclient.Tool, s source.Side, section string, read func(io.Reader) error) error {
	dump := &source.CountedStream{ReadCloser: c.Open(ctx, s, s.Entry.Root)}
	defer dump.Close()
	out, err := program.Program{Argv: []string{t.Path, section, "-f", "-"}, Env: program.Environ(), Stdin: dump}.Start(ctx)
	if err != nil {
		return err
	}
	err = read(out)
	err = errors.Join(err, out.Close())
	if err != nil && dump.Err != nil {
		return dump.Err // why pg_restore had too little to read
	}
	return err
}

// schemaDigest is of all statements that make the schema.
func schemaDigest(ctx context.Context, c *source.Comparison, t pgclient.Tool, s source.Side) (sum [sha256.Size]byte, err error) {
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
func rolesDigest(ctx context.Context, s source.Side) (sum [sha256.Size]byte, err error) {
	if s.Entry.Extra == nil {
		return sum, nil
	}
	h := sha256.New()
	err = chunks.Copy(ctx, s.Reader, *s.Entry.Extra, h)
	return [sha256.Size]byte(h.Sum(nil)), err
}

// readRows puts every row of a dump into a bag of its own.
func readRows(ctx context.Context, c *source.Comparison, t pgclient.Tool, s source.Side, tables *rowTables, dir string) (_ *rowBag, err error) {
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

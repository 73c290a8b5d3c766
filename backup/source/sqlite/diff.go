package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
)

// compare writes both database files to the scratch folder, and has
// SQLite compare their tables.
func compare(ctx context.Context, c *source.Comparison) (_ source.Difference, err error) {
	dir, err := os.MkdirTemp(c.Opt.Scratch, "compare-")
	if err != nil {
		return source.Difference{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	paths := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	for i, side := range []source.Side{c.A, c.B} {
		if err := writeOut(ctx, c, side, paths[i]); err != nil {
			return source.Difference{}, err
		}
	}
	db, err := sql.Open("sqlite", sqlitefile.URI(paths[0], "mode=ro&immutable=1"))
	if err != nil {
		return source.Difference{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1) // the one that has B attached
	if _, err := db.ExecContext(ctx, "ATTACH ? AS b", sqlitefile.URI(paths[1], "mode=ro&immutable=1")); err != nil {
		return source.Difference{}, fmt.Errorf("open the second database: %w", err)
	}
	return (&sqliteComparison{c: c, db: db}).run(ctx)
}

// writeOut writes one side's file, which is dropped when it has been compared.
func writeOut(ctx context.Context, c *source.Comparison, s source.Side, path string) error {
	in := c.Open(ctx, s, s.Entry.Root)
	defer in.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.ReadFrom(in)
	return errors.Join(err, f.Close())
}

// sqliteComparison is of two databases: main is A, and b is B.
type sqliteComparison struct {
	c  *source.Comparison
	db *sql.DB
}

func (s *sqliteComparison) run(ctx context.Context) (source.Difference, error) {
	var d source.Difference
	schema, err := s.schemaDiffers(ctx)
	if err != nil {
		return d, err
	}
	if schema {
		d.Notes = append(d.Notes, "the schema differs: compare the output of .schema for both files")
	}
	var tables [2]map[string]sqliteTable
	for i, schema := range []string{"main", "b"} {
		if tables[i], err = s.tables(ctx, schema); err != nil {
			return d, err
		}
	}
	for _, name := range namesOf(tables[0], tables[1]) {
		t, err := s.compareTable(ctx, name, tables[0], tables[1])
		if err != nil {
			return d, err
		}
		if t.Differs() {
			d.Tables = append(d.Tables, t)
		}
	}
	d.Same = len(d.Tables) == 0 && len(d.Notes) == 0
	return d, nil
}

// schemaDiffers compares all definitions.
func (s *sqliteComparison) schemaDiffers(ctx context.Context) (bool, error) {
	var n int64
	err := s.db.QueryRowContext(ctx, `
		SELECT count(*) FROM (
			SELECT * FROM (SELECT type, name, tbl_name, sql FROM main.sqlite_schema EXCEPT SELECT type, name, tbl_name, sql FROM b.sqlite_schema)
			UNION ALL
			SELECT * FROM (SELECT type, name, tbl_name, sql FROM b.sqlite_schema EXCEPT SELECT type, name, tbl_name, sql FROM main.sqlite_schema))`).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("compare schemas: %w", err)
	}
	return n > 0, nil
}

func namesOf(a, b map[string]sqliteTable) []string {
	var names []string
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (s *sqliteComparison) compareTable(ctx context.Context, name string, inA, inB map[string]sqliteTable) (source.TableDifference, error) {
	t := source.TableDifference{Name: name}
	a, isA := inA[name]
	b, isB := inB[name]
	for _, side := range []struct {
		is     bool
		schema string
		rows   *int64
	}{{isA, "main", &t.RowsA}, {isB, "b", &t.RowsB}} {
		if !side.is {
			continue
		}
		query := "SELECT count(*) FROM " + side.schema + "." + quoteName(name)
		if err := s.db.QueryRowContext(ctx, query).Scan(side.rows); err != nil {
			return t, fmt.Errorf("count rows of %s: %w", name, err)
		}
	}
	switch {
	case !isB:
		t.OnlyA, t.Note = t.RowsA, "the table is only in A"
		return t, nil
	case !isA:
		t.OnlyB, t.Note = t.RowsB, "the table is only in B"
		return t, nil
	}
	j := rowJoin{table: name, key: a.key, columns: commonColumns(a, b)}
	if len(j.key) == 0 || !slices.Equal(a.key, b.key) || len(j.columns) == 0 {
		t.Note = "the tables have no key or no column in common: only the numbers of their rows are compared"
		return t, nil
	}
	err := s.compareRows(ctx, j, &t)
	if err != nil && strings.Contains(err.Error(), "no such collation sequence") {
		t = source.TableDifference{Name: name, RowsA: t.RowsA, RowsB: t.RowsB, Note: "only the application knows the order of its keys: only the numbers of its rows are compared"}
		return t, nil
	}
	if err != nil {
		return t, fmt.Errorf("compare rows of %s: %w", name, err)
	}
	return t, nil
}

// compareRows finds the rows that differ: each of three queries uses the key's
// index and needs no memory for rows.
func (s *sqliteComparison) compareRows(ctx context.Context, j rowJoin, t *source.TableDifference) error {
	for _, q := range []struct {
		query, change string
		count         *int64
	}{
		{j.only("main", "b"), source.Removed, &t.OnlyA},
		{j.only("b", "main"), source.Added, &t.OnlyB},
		{j.changed(), source.Changed, &t.Changed},
	} {
		err := s.eachKey(ctx, q.query, func(key string) error {
			*q.count++
			return s.c.Found(source.Change{Change: q.change, Table: t.Name, Key: key})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *sqliteComparison) eachKey(ctx context.Context, query string, do func(key string) error) (err error) {
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return err
		}
		if err := do(key); err != nil {
			return err
		}
	}
	return rows.Err()
}

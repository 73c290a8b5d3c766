package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// sqliteTable is what a comparison needs to know of a table.
type sqliteTable struct {
	columns []string // that are stored
	// key is the columns by which a row is known: its primary key, where no
	// part of that may be NULL, or the name under which its rowid is seen; nil
	// when that is hidden too.
	key []string
}

// tables lists a database's ordinary tables. The shadow tables in which virtual
// ones keep their data are among them; SQLite's own are not.
func (s *sqliteComparison) tables(ctx context.Context, schema string) (map[string]sqliteTable, error) {
	withoutRowid, err := s.tableNames(ctx, schema)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	tables := make(map[string]sqliteTable, len(withoutRowid))
	for name, wr := range withoutRowid {
		if tables[name], err = s.table(ctx, schema, name, wr); err != nil {
			return nil, fmt.Errorf("read definition of table %s: %w", name, err)
		}
	}
	return tables, nil
}

// tableNames tells of each table whether it is one without a rowid.
func (s *sqliteComparison) tableNames(ctx context.Context, schema string) (_ map[string]bool, err error) {
	rows, err := s.db.QueryContext(ctx, `
		SELECT name, wr FROM pragma_table_list
		WHERE schema = ? AND type IN ('table', 'shadow') AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`, schema)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	withoutRowid := map[string]bool{}
	for rows.Next() {
		var name string
		var wr bool
		if err := rows.Scan(&name, &wr); err != nil {
			return nil, err
		}
		withoutRowid[name] = wr
	}
	return withoutRowid, rows.Err()
}

func (s *sqliteComparison) table(ctx context.Context, schema, name string, withoutRowid bool) (t sqliteTable, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT name, upper(type), \"notnull\", pk, hidden FROM pragma_table_xinfo(?, ?)", name, schema)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	type part struct {
		name string
		at   int
	}
	var primary []part
	nullable, integer := false, false
	names := map[string]bool{}
	for rows.Next() {
		var column, kind string
		var notNull bool
		var pk, hidden int
		if err := rows.Scan(&column, &kind, &notNull, &pk, &hidden); err != nil {
			return t, err
		}
		names[strings.ToLower(column)] = true
		if hidden == 0 { // others are made of these
			t.columns = append(t.columns, column)
		}
		if pk > 0 {
			primary = append(primary, part{column, pk})
			nullable = nullable || !notNull
			integer = kind == "INTEGER"
		}
	}
	slices.SortFunc(primary, func(x, y part) int { return cmp.Compare(x.at, y.at) })
	alias := integer && len(primary) == 1 // of the rowid
	if len(primary) > 0 && (withoutRowid || alias || !nullable) {
		for _, p := range primary {
			t.key = append(t.key, p.name)
		}
		return t, rows.Err()
	}
	for _, name := range []string{"rowid", "_rowid_", "oid"} {
		if !names[name] {
			t.key = []string{name}
			break
		}
	}
	return t, rows.Err()
}

// commonColumns are those of both tables; in what else they differ shows in
// their definitions.
func commonColumns(a, b sqliteTable) []string {
	return slices.DeleteFunc(slices.Clone(a.columns), func(name string) bool { return !slices.Contains(b.columns, name) })
}

// rowJoin makes the queries that compare the rows of a table in main and in b.
// Each gives the rows' keys as text.
type rowJoin struct {
	table        string
	key, columns []string
}

// only finds the rows of one database that the other lacks.
func (j rowJoin) only(in, not string) string {
	return fmt.Sprintf("SELECT %s FROM %s.%s AS x WHERE NOT EXISTS (SELECT 1 FROM %s.%[3]s AS y WHERE %[5]s)",
		j.keyText(), in, quoteName(j.table), not, j.sameKey())
}

// changed finds the rows that differ. 1 and 1.0 are equal and yet not the
// same, and so are 'a' and 'A' where a column says so.
func (j rowJoin) changed() string {
	side := func(alias, collate string) string {
		var values []string
		for _, c := range j.columns {
			name := alias + "." + quoteName(c)
			values = append(values, name+collate, "typeof("+name+")")
		}
		return "(" + strings.Join(values, ", ") + ")"
	}
	return fmt.Sprintf("SELECT %s FROM main.%s AS x CROSS JOIN b.%[2]s AS y WHERE %s AND %s IS NOT %s",
		j.keyText(), quoteName(j.table), j.sameKey(), side("x", " COLLATE BINARY"), side("y", ""))
}

func (j rowJoin) sameKey() string {
	return j.each(" AND ", func(name string) string { return "x." + name + " = y." + name })
}

func (j rowJoin) keyText() string {
	return j.each(" || ', ' || ", func(name string) string { return "quote(x." + name + ")" })
}

func (j rowJoin) each(between string, do func(name string) string) string {
	var parts []string
	for _, c := range j.key {
		parts = append(parts, do(quoteName(c)))
	}
	return strings.Join(parts, between)
}

// quoteName writes a name as SQL takes it.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

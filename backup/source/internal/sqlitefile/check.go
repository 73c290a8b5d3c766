package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/understudy-ha/understudy/backup/source"
)

// Examine runs SQLite's own check on a database file that nobody else uses,
// and leaves no file beside it.
func Examine(ctx context.Context, f *os.File) (_ source.Findings, err error) {
	db, err := OpenImmutable(f)
	if err != nil {
		return source.Findings{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	found, err := ExamineDatabase(ctx, db)
	if err != nil {
		return source.Findings{}, fmt.Errorf("check the integrity of %s: %w", f.Name(), err)
	}
	return found, nil
}

// OpenImmutable opens a database that nobody writes to, by way of its open file, and
// ignores what is beside it.
func OpenImmutable(f *os.File) (*sql.DB, error) {
	return sql.Open("sqlite", URI(heldDirs+strconv.Itoa(int(f.Fd())), "mode=ro&immutable=1"))
}

// querier is a connection to a database, or several.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// ExamineDatabase tells damage from what only the application can read: a
// function, a collation, a tokenizer or a module of its own. Where the check of
// the whole database needs one of these, each table is checked alone, and what
// cannot be checked is named.
func ExamineDatabase(ctx context.Context, db querier) (source.Findings, error) {
	found, err := runCheck(ctx, db, "PRAGMA integrity_check(10)")
	if !needsApplication(err) {
		return found, err
	}
	tables, err := QueryTexts(ctx, db, "SELECT name FROM sqlite_schema WHERE type = 'table'")
	if needsApplication(err) {
		return source.Findings{Unchecked: []string{"it could not be checked without the application: " + Reason(err)}}, nil
	}
	if found, err = asDamage(err); err != nil || len(found.Damage) > 0 {
		return found, err
	}
	for _, table := range append([]string{"sqlite_schema"}, tables...) {
		of, err := examineTable(ctx, db, table)
		if err != nil {
			return source.Findings{}, err
		}
		found.Add("", of)
	}
	return found, nil
}

// examineTable checks one table with its indexes; without them, where only the
// application knows their order.
func examineTable(ctx context.Context, db querier, table string) (source.Findings, error) {
	name := "'" + strings.ReplaceAll(table, "'", "''") + "'"
	found, err := runCheck(ctx, db, "PRAGMA integrity_check("+name+")")
	if !needsApplication(err) {
		return found, err
	}
	why := Reason(err)
	found, err = runCheck(ctx, db, "PRAGMA quick_check("+name+")")
	what := "the indexes of table " + table
	if needsApplication(err) {
		what, err = "table "+table, nil
	}
	found.Unchecked = append(found.Unchecked, what+" could not be checked without the application: "+why)
	return found, err
}

// runCheck runs a check. A database that SQLite cannot read is damaged; any
// other error is returned.
func runCheck(ctx context.Context, db querier, check string) (source.Findings, error) {
	said, err := QueryTexts(ctx, db, check)
	found, err := asDamage(err)
	for _, text := range said {
		switch {
		case text == "ok":
		case violation.MatchString(text):
			found.Unchecked = append(found.Unchecked, "rows break a rule of their table: "+text)
		default:
			found.Damage = append(found.Damage, strings.ReplaceAll(text, "\n", "; ")) // it is one finding
		}
	}
	return found, err
}

// violation is what SQLite's check says of values that their table does not
// allow. Applications live with such rows: those that were there before the
// rule, or that an older SQLite let in.
var violation = regexp.MustCompile(`^(NULL value in |CHECK constraint failed in |TEXT value in |NUMERIC value in |non-[A-Z]+ value in )`)

// asDamage makes damage of an error that says so.
func asDamage(err error) (source.Findings, error) {
	switch ResultCode(err) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return source.Findings{Damage: []string{Reason(err)}}, nil
	}
	return source.Findings{}, err
}

// needsApplication tells whether SQLite could not compile or run something for
// want of what the application brings along.
func needsApplication(err error) bool { return ResultCode(err) == sqlite3.SQLITE_ERROR }

// ResultCode is SQLite's primary result code; SQLITE_OK for an error of others.
func ResultCode(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return sqlite3.SQLITE_OK
	}
	return e.Code() & 0xff
}

// Reason is what SQLite says, without the path that it was said of: that may be a
// copy's, which has another one in each backup.
func Reason(err error) string {
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		err = e
	}
	return strings.TrimPrefix(err.Error(), "SQL logic error: ")
}

// QueryTexts returns the first column of the rows, as far as they come.
func QueryTexts(ctx context.Context, db querier, query string) (texts []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return texts, err
		}
		texts = append(texts, text)
	}
	return texts, rows.Err()
}

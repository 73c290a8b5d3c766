package sourcetest

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
)

// TellsADamagedDatabase holds a source with a live database to this: a damaged one is
// told in the backup until it is mended, and is looked for once in every at the
// most.
func TellsADamagedDatabase(t *testing.T, every time.Duration, make func(path string, now func() time.Time) source.Source) {
	t.Helper()
	bad := Rewrite(t, "ON t (x)", "ON t (y)", "CREATE TABLE t (x INT, y INT)", "CREATE INDEX i ON t (x)", "INSERT INTO t VALUES (1, 2)")
	now := time.Now().Add(time.Hour)
	src := make(bad, func() time.Time { return now })
	v := NewVault(t)
	change := func(stmt string) {
		t.Helper()
		db := OpenBank(t, bad, "delete")
		_, err := db.Exec(stmt)
		Must(t, err)
		Must(t, db.Close())
	}
	expect := func(when string, damaged bool) {
		t.Helper()
		e, _ := v.Backup(t, src)
		text := strings.Join(e.Damaged, "; ")
		if strings.Contains(text, "row 1 missing from index i") != damaged || len(e.Warnings) > 0 != damaged {
			t.Errorf("%s: damaged %q, warnings %q", when, text, e.Warnings)
		}
	}
	expect("at first", true)
	expect("unchanged", true)
	change("CREATE TABLE more (x)")
	expect("changed", true)
	change("REINDEX")
	expect("mended", false)
	for _, stmt := range []string{
		"PRAGMA writable_schema = on; UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t (x)' WHERE name = 'i'",
		"CREATE TABLE another (x)",
	} {
		change(stmt)
	}
	expect("within the hour", false)
	now = now.Add(every)
	change("CREATE TABLE once_more (x)")
	expect("an hour later", true)
}

package sqlite

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// What only the application can read is no damage, and is named; what is wrong
// for everybody is damage, in whatever company.
func TestSQLiteDamageIsToldFromWhatOnlyTheApplicationReads(t *testing.T) {
	fts := []string{"CREATE VIRTUAL TABLE f USING fts5(x, tokenize='unicode61')", "INSERT INTO f VALUES ('a')"}
	index := []string{"CREATE TABLE t (x INT, y INT)", "CREATE INDEX i ON t (abs(x))", "INSERT INTO t VALUES (1, 2)"}
	for name, c := range map[string]struct {
		from, to          string
		stmts             []string
		damage, unchecked string
	}{
		"sound":                  {},
		"a tokenizer":            {"unicode61", "jieba", fts, "", "table f could not be checked"},
		"a module":               {"USING fts5", "USING gone9", fts, "", ""}, // its shadow tables are looked at
		"a function in an index": {"abs(", "mine(", index, "", "the indexes of table t could not be checked"},
		"a function in a partial index": {"abs(x)", "mine(x)", []string{
			"CREATE TABLE t (x INT)", "CREATE INDEX i ON t (x) WHERE abs(x) > 0", "INSERT INTO t VALUES (1)",
		}, "", "the indexes of table t"},
		"a collation": {"NOCASE", "KLINGON", []string{
			"CREATE TABLE t (a TEXT COLLATE NOCASE)", "CREATE INDEX i ON t (a)", "INSERT INTO t VALUES ('x')",
		}, "", "table t could not be checked"},
		"a rule that came later": {"(v INT)", "(v INT NOT NULL)", []string{
			"CREATE TABLE t (v INT)", "INSERT INTO t VALUES (NULL)",
		}, "", "rows break a rule"},
		"an index that lacks a row": {"ON t (x)", "ON t (y)", []string{
			"CREATE TABLE t (x INT, y INT)", "CREATE INDEX i ON t (x)", "INSERT INTO t VALUES (1, 2)",
		}, "row 1 missing from index i", ""},
		"an index that lacks a row, beside a tokenizer": {"ON t (x)", "ON t (y) /* jieba */", append([]string{
			"CREATE TABLE t (x INT, y INT)", "CREATE INDEX i ON t (x)", "INSERT INTO t VALUES (1, 2)", "CREATE TABLE u (x)",
			"CREATE INDEX iu ON u (x)",
		}, "PRAGMA writable_schema = on", "UPDATE sqlite_schema SET sql = replace(sql, 'u (x)', 'u (mine(x))') WHERE name = 'iu'"), "row 1 missing from index i", "the indexes of table u"},
	} {
		t.Run(name, func(t *testing.T) {
			path := sourcetest.Rewrite(t, c.from, c.to, c.stmts...)
			got, err := sqlitefile.Examine(t.Context(), sourcetest.Opened(t, path))
			sourcetest.Must(t, err)
			if damage := strings.Join(got.Damage, "; "); (damage == "") != (c.damage == "") || !strings.Contains(damage, c.damage) {
				t.Errorf("damage %q, want %q", damage, c.damage)
			}
			if unchecked := strings.Join(got.Unchecked, "; "); (unchecked == "") != (c.unchecked == "") || !strings.Contains(unchecked, c.unchecked) {
				t.Errorf("unchecked %q, want %q", unchecked, c.unchecked)
			}
			if strings.Contains(strings.Join(append(got.Damage, got.Unchecked...), ";"), "sound") {
				t.Errorf("a sound table is named: %+v", got)
			}
		})
	}
}

// A damaged database is staged on an operator's word alone, and what was found
// is told either way.
func TestSQLiteStageOfDamageNeedsAWord(t *testing.T) {
	path := sourcetest.Rewrite(t, "ON t (x)", "ON t (y)", "CREATE TABLE t (x INT, y INT)", "CREATE INDEX i ON t (x)", "INSERT INTO t VALUES (1, 2)")
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, newSQLite(t, path))
	src := newSQLite(t, filepath.Join(t.TempDir(), "b.db"))
	var x source.Examination
	err := src.Stage(source.WithExamination(t.Context(), &x), s.Reader(), e)
	if damage := (*source.DamageError)(nil); !errors.As(err, &damage) || len(x.Damage) == 0 {
		t.Fatalf("%v, %+v", err, x)
	}
	sourcetest.MustFail(t, src.Swap(t.Context()), "nothing is staged")
	x = source.Examination{AllowDamage: true}
	sourcetest.Must(t, src.Stage(source.WithExamination(t.Context(), &x), s.Reader(), e))
	if len(x.Damage) == 0 {
		t.Error("the damage is not told")
	}
	sourcetest.Must(t, src.Swap(t.Context()))
	db, err := sql.Open("sqlite", sqlitefile.URI(src.Path, "mode=ro"))
	sourcetest.Must(t, err)
	defer db.Close()
	var n int
	sourcetest.Must(t, db.QueryRow("SELECT count(*) FROM t NOT INDEXED").Scan(&n))
	if n != 1 {
		t.Errorf("%d rows", n)
	}
}

// What SQLite says in several lines is one line in a warning.
func TestADamagedPageIsOneFinding(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	sourcetest.Must(t, sourcetest.NewBank(t, path, "delete", 4000).Close())
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	sourcetest.Must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, 64), 4096*20)
	sourcetest.Must(t, errors.Join(err, f.Close()))
	got, err := sqlitefile.Examine(t.Context(), sourcetest.Opened(t, path))
	sourcetest.Must(t, err)
	if len(got.Damage) == 0 || strings.Contains(strings.Join(got.Damage, ""), "\n") {
		t.Errorf("found %q", got.Damage)
	}
}

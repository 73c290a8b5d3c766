package source

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/pack"
)

const accounts, money = 200, 1000

// openBank opens a database as an application would.
func openBank(t testing.TB, path, journal string) *sql.DB {
	t.Helper()
	must(t, ownLocks())
	db, err := sql.Open("sqlite", sqliteURI(path, "_pragma=busy_timeout(60000)&_pragma=journal_mode("+journal+")"))
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// newBank makes a database of accounts. The sum of their balances never
// changes, and each transfer is logged.
func newBank(t testing.TB, path, journal string, logged int) *sql.DB {
	t.Helper()
	must(t, ownLocks())
	db := openBank(t, path, journal)
	for _, stmt := range []string{
		"CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER, transfers INTEGER DEFAULT 0)",
		"CREATE TABLE log (id INTEGER PRIMARY KEY, memo TEXT)",
		"CREATE INDEX log_memo ON log (memo)",
		fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d) INSERT INTO accounts (id, balance) SELECT i, %d FROM n", accounts, money),
		fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d) INSERT INTO log (memo) SELECT 'transfer ' || hex(randomblob(100)) FROM n", logged),
		fmt.Sprintf("UPDATE accounts SET transfers = %d WHERE id = 1", logged),
		"PRAGMA user_version = 7",
	} {
		_, err := db.Exec(stmt)
		must(t, err)
	}
	return db
}

// transfer moves money between two accounts and logs it.
func transfer(db *sql.DB, from, to int) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, stmt := range []string{
		fmt.Sprintf("UPDATE accounts SET balance = balance - 1, transfers = transfers + 1 WHERE id = %d", from),
		fmt.Sprintf("UPDATE accounts SET balance = balance + 1 WHERE id = %d", to),
		"INSERT INTO log (memo) VALUES ('transfer ' || hex(randomblob(100)))",
	} {
		if _, err := tx.Exec(stmt); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// mustBeSound holds a database file that nobody uses to SQLite's own check.
func mustBeSound(t testing.TB, path string) {
	t.Helper()
	found, err := examineFile(t.Context(), opened(t, path))
	must(t, err)
	if !found.Empty() {
		t.Errorf("%s: %+v", path, found)
	}
}

// checkBank checks SQLite's and the application's invariants, and gives the
// number of transfers.
func checkBank(t testing.TB, path string) int {
	t.Helper()
	mustBeSound(t, path)
	db, err := sql.Open("sqlite", sqliteURI(path, "mode=ro&immutable=1"))
	must(t, err)
	defer db.Close()
	return transfers(t, db)
}

func transfers(t testing.TB, db *sql.DB) int {
	t.Helper()
	var sum, done, logged int
	must(t, db.QueryRow("SELECT sum(balance), sum(transfers), (SELECT count(*) FROM log) FROM accounts").Scan(&sum, &done, &logged))
	if sum != accounts*money || done != logged {
		t.Errorf("%d in all accounts, %d transfers done, %d logged", sum, done, logged)
	}
	return done
}

func newSQLite(t testing.TB, path string) *SQLite {
	t.Helper()
	s, err := NewSQLite("prefs", SQLiteConfig{Path: path, Scratch: filepath.Join(t.TempDir(), "scratch")})
	must(t, err)
	return s
}

// export writes the last backup's database to a new file.
func export(t testing.TB, s *shelf, e Entry) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "exported.db")
	must(t, Export(t.Context(), s.reader(), e, path))
	return path
}

func TestSQLiteDumpIsTheFilePageForPage(t *testing.T) {
	for _, journal := range []string{"wal", "delete", "truncate", "persist"} {
		t.Run(journal, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a #1?%.db")
			must(t, newBank(t, path, journal, 5000).Close())
			src, s := newSQLite(t, path), newShelf(t)
			must(t, src.Check(t.Context()))
			e, _ := s.backup(t, src)
			want, got := readText(t, path), readText(t, export(t, s, e))
			if got != want {
				t.Errorf("%d bytes exported differ from the %d of the file", len(got), len(want))
			}
			var facts sqliteFacts
			must(t, json.Unmarshal(e.Facts, &facts))
			wantMode := map[bool]string{true: "wal", false: "delete"}[journal == "wal"]
			if facts.UserVersion != 7 || facts.Size != e.Size || facts.PageSize*facts.PageCount != e.Size || facts.JournalMode != wantMode || facts.Mode != 0o644 {
				t.Errorf("facts %+v", facts)
			}
			if left, _ := os.ReadDir(src.cfg.Scratch); len(left) > 0 {
				t.Errorf("left in the scratch folder: %v", left)
			}
		})
	}
}

func TestSQLiteUnchangedIsKeptAndLittleChangeIsLittleData(t *testing.T) {
	for _, journal := range []string{"wal", "delete"} {
		t.Run(journal, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.db")
			db := newBank(t, path, journal, 6000) // stays open, as an application's would
			src, s := newSQLite(t, path), newShelf(t)
			first, _ := s.backup(t, src)
			print, err := fingerprint(placed(t, path))
			must(t, err)
			for range 2 {
				again, stats := s.backup(t, src)
				if stats.New != 0 || fmt.Sprint(again.Root) != fmt.Sprint(first.Root) {
					t.Errorf("unchanged database: %d new bytes", stats.New)
				}
				if now, err := fingerprint(placed(t, path)); err != nil || now != print {
					t.Errorf("a backup itself looks like a change, and has the next one read all again (%v)", err)
				}
			}
			must(t, transfer(db, 3, 4))
			changed, stats := s.backup(t, src)
			if stats.New == 0 || stats.New > first.Size/4 {
				t.Errorf("%d new bytes of %d after one transfer", stats.New, first.Size)
			}
			if got := checkBank(t, export(t, s, changed)); got != 6001 {
				t.Errorf("%d transfers", got)
			}
		})
	}
}

func TestSQLiteFingerprintChangesWithEveryCommit(t *testing.T) {
	for _, journal := range []string{"wal", "delete"} {
		path := filepath.Join(t.TempDir(), "a.db")
		db := newBank(t, path, journal, 1)
		seen := map[string]bool{}
		for i := range 300 {
			must(t, transfer(db, i%accounts+1, 1))
			print, err := fingerprint(placed(t, path))
			must(t, err)
			if seen[print] {
				t.Fatalf("%s: commit %d did not change the fingerprint", journal, i)
			}
			seen[print] = true
			if i%100 == 50 && journal == "wal" { // the WAL begins anew
				_, err := db.Exec("PRAGMA wal_checkpoint(RESTART)")
				must(t, err)
			}
		}
	}
}

func TestSQLiteMissingFileIsAClearError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.db")
	src := newSQLite(t, path)
	_, _, err := newShelf(t).tryBackup(t.Context(), src)
	mustFail(t, err, "dump prefs", "there is no database at "+path, "check the path")
	if there, _ := exists(path); there {
		t.Error("the dump made the file")
	}
	mustFail(t, src.Check(t.Context()), "there is no database at "+path)
	must(t, src.CheckRestore(t.Context())) // a standby has none yet
}

func TestSQLiteRefusesWhatIsNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text.db")
	must(t, os.WriteFile(path, bytes.Repeat([]byte("not a database\n"), 1000), 0o600))
	src := newSQLite(t, path)
	_, _, err := newShelf(t).tryBackup(t.Context(), src)
	mustFail(t, err, "open database "+path, "not a database")
	mustFail(t, src.Check(t.Context()), "not a database")
}

func TestSQLiteConfigIsChecked(t *testing.T) {
	_, err := NewSQLite("prefs", SQLiteConfig{Scratch: "x"})
	mustFail(t, err, "source prefs", "path is missing")
	_, err = NewSQLite("prefs", SQLiteConfig{Path: "x"})
	mustFail(t, err, "source prefs", "scratch folder is missing")
}

func TestSQLiteEmptyDatabaseIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty.db")
	must(t, os.WriteFile(path, nil, 0o600))
	src, s := newSQLite(t, path), newShelf(t)
	e, _ := s.backup(t, src)
	s.stage(t, src, e)
	must(t, src.Swap(t.Context()))
	must(t, src.Discard(t.Context()))
	if got := readText(t, path); got != "" {
		t.Errorf("%d bytes", len(got))
	}
}

// A damaged database is not put into place.
func TestSQLiteStageChecksIntegrity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	must(t, newBank(t, path, "delete", 5000).Close())
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, 4096), 20*4096)
	must(t, err)
	must(t, f.Close())
	src, s := newSQLite(t, path), newShelf(t)
	e, _ := s.backup(t, src)
	mustFail(t, src.Stage(t.Context(), s.reader(), e), "stage prefs", "is damaged, and was so when it was backed up")
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*understudy*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	mustFail(t, src.Swap(t.Context()), "nothing is staged")
}

// Indexes that only the application can order do not stand in the way.
func TestSQLiteStageTakesAnUnknownCollation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db := openBank(t, path, "delete")
	db.SetMaxOpenConns(1)
	for _, stmt := range []string{
		"CREATE TABLE t (a TEXT COLLATE NOCASE)", "CREATE INDEX i ON t (a)", "INSERT INTO t VALUES ('x')",
		"PRAGMA writable_schema = on",
		"UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'KLINGON')",
	} {
		_, err := db.Exec(stmt)
		must(t, err)
	}
	must(t, db.Close())
	src, s := newSQLite(t, path), newShelf(t)
	e, _ := s.backup(t, src)
	s.stage(t, src, e)
}

func TestSQLiteKeepsModeAndMakesTheFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	must(t, newBank(t, path, "wal", 1).Close())
	must(t, os.Chmod(path, 0o660))
	if os.Geteuid() == 0 {
		must(t, os.Chown(path, 1234, 5678))
	}
	s := newShelf(t)
	e, _ := s.backup(t, newSQLite(t, path))
	elsewhere := filepath.Join(dir, "srv", "app", "b.db")
	src := newSQLite(t, elsewhere)
	if folder, n := src.Space(e); folder != filepath.Dir(elsewhere) || n != e.Size {
		t.Errorf("space %s %d", folder, n)
	}
	s.stage(t, src, e)
	must(t, src.Swap(t.Context()))
	must(t, src.Discard(t.Context()))
	for _, p := range []string{path, elsewhere} {
		var st unix.Stat_t
		must(t, unix.Stat(p, &st))
		if os.Geteuid() == 0 && (st.Uid != 1234 || st.Gid != 5678) || st.Mode&0o777 != 0o660 {
			t.Errorf("%s: mode %o, owner %d:%d", p, st.Mode, st.Uid, st.Gid)
		}
	}
}

func TestSQLitePageReaderCrossesPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	must(t, newBank(t, path, "delete", 100).Close())
	snap, err := openSnapshot(t.Context(), placed(t, path))
	must(t, err)
	defer snap.Close()
	pages, err := snap.pages(t.Context())
	must(t, err)
	var got strings.Builder
	buf := make([]byte, 1000)
	for {
		n, err := pages.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			break
		}
	}
	must(t, pages.Close())
	if got.String() != readText(t, path) {
		t.Error("pages differ from the file")
	}
}

var _ pack.Packs = (*shelf)(nil)

// opened is a file that is open until the test's end.
func opened(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

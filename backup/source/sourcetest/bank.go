package sourcetest

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
)

// Accounts is how many accounts a bank has, and Money what each begins with.
const Accounts, money = 200, 1000

// OpenBank opens a database as an application would.
func OpenBank(t testing.TB, path, journal string) *sql.DB {
	t.Helper()
	Must(t, sqlitefile.OwnLocks())
	db, err := sql.Open("sqlite", sqlitefile.URI(path, "_pragma=busy_timeout(60000)&_pragma=journal_mode("+journal+")"))
	Must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// NewBank makes a database of accounts. The sum of their balances never
// changes, and each transfer is logged.
func NewBank(t testing.TB, path, journal string, logged int) *sql.DB {
	t.Helper()
	Must(t, sqlitefile.OwnLocks())
	db := OpenBank(t, path, journal)
	for _, stmt := range []string{
		"CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER, transfers INTEGER DEFAULT 0)",
		"CREATE TABLE log (id INTEGER PRIMARY KEY, memo TEXT)",
		"CREATE INDEX log_memo ON log (memo)",
		fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d) INSERT INTO accounts (id, balance) SELECT i, %d FROM n", Accounts, money),
		fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d) INSERT INTO log (memo) SELECT 'transfer ' || hex(randomblob(100)) FROM n", logged),
		fmt.Sprintf("UPDATE accounts SET transfers = %d WHERE id = 1", logged),
		"PRAGMA user_version = 7",
	} {
		_, err := db.Exec(stmt)
		Must(t, err)
	}
	return db
}

// Transfer moves money between two accounts and logs it.
func Transfer(db *sql.DB, from, to int) error {
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

// MustBeSound holds a database file that nobody uses to SQLite's own check.
func MustBeSound(t testing.TB, path string) {
	t.Helper()
	found, err := sqlitefile.Examine(t.Context(), Opened(t, path))
	Must(t, err)
	if !found.Empty() {
		t.Errorf("%s: %+v", path, found)
	}
}

// CheckBank checks SQLite's and the application's invariants, and gives the
// number of transfers.
func CheckBank(t testing.TB, path string) int {
	t.Helper()
	MustBeSound(t, path)
	db, err := sql.Open("sqlite", sqlitefile.URI(path, "mode=ro&immutable=1"))
	Must(t, err)
	defer db.Close()
	return Transfers(t, db)
}

// Transfers checks the invariants of a bank, and returns how many transfers there were.
func Transfers(t testing.TB, db *sql.DB) int {
	t.Helper()
	var sum, done, logged int
	Must(t, db.QueryRow("SELECT sum(balance), sum(transfers), (SELECT count(*) FROM log) FROM accounts").Scan(&sum, &done, &logged))
	if sum != Accounts*money || done != logged {
		t.Errorf("%d in all accounts, %d transfers done, %d logged", sum, done, logged)
	}
	return done
}

// Opened is a file that is open until the test's end.
func Opened(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	Must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// CopyBank copies a database with what is beside it.
func CopyBank(t *testing.T, from, to string) {
	t.Helper()
	for _, side := range append([]string{""}, sqlitefile.Sides...) {
		if there, _ := fsx.Exists(from + side); there {
			Must(t, os.WriteFile(to+side, []byte(ReadText(t, from+side)), 0o600))
		}
	}
}

// Rewrite makes a database whose schema is then changed behind SQLite's back:
// from is replaced by to.
func Rewrite(t *testing.T, from, to string, stmts ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.db")
	db := OpenBank(t, path, "delete")
	db.SetMaxOpenConns(1)
	stmts = append([]string{"CREATE TABLE sound (a, b)", "CREATE INDEX sound_b ON sound (b)", "INSERT INTO sound VALUES (1, 2)"}, stmts...)
	for _, stmt := range append(stmts, "PRAGMA writable_schema = on") {
		_, err := db.Exec(stmt)
		Must(t, err)
	}
	_, err := db.Exec("UPDATE sqlite_schema SET sql = replace(sql, ?, ?)", from, to)
	Must(t, err)
	Must(t, db.Close())
	return path
}

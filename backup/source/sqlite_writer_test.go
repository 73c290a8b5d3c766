package source

import (
	"bufio"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
) // Variables by which a test starts its own binary as an application.
const (
	bankPath = "UNDERSTUDY_TEST_BANK"
	bankJob  = "UNDERSTUDY_TEST_BANK_JOB"
) // TestSQLiteApplicationProcess is no test: it is the application, when the
// test binary is started as one.
func TestSQLiteApplicationProcess(t *testing.T) { runApplication(t) } // runApplication is what a test binary's TestSQLiteApplicationProcess does: it is the
// application, when the binary is started as one.
func runApplication(t *testing.T) {
	path := os.Getenv(bankPath)
	if path == "" {
		return
	}
	db, err := sql.Open("sqlite", sqliteURI(path, "_pragma=busy_timeout(60000)&_pragma=synchronous(off)&_txlock=immediate"))
	must(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	switch os.Getenv(bankJob) {
	case "die":
		dieInATransaction(t, db)
	case "lock":
		keepLocked(t, db)
		return
	}
	stop := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); close(stop) }()
	for n := 0; ; n++ {
		must(t, transfer(db, n%accounts+1, n*7%accounts+1))
		if n == 0 {
			fmt.Println("\nwriting")
		}
		select {
		case <-stop:
			fmt.Println("\nwrote", n+1)
			return
		default:
		}
	}
}

// dieInATransaction leaves a transaction half-written in the database, and
// waits to be killed.
func dieInATransaction(t *testing.T, db *sql.DB) {
	for _, stmt := range []string{
		"PRAGMA cache_size = 5", "PRAGMA cache_spill = 5", "BEGIN IMMEDIATE",
		"UPDATE accounts SET balance = balance + 1", "UPDATE log SET memo = 'overwritten ' || memo",
	} {
		_, err := db.Exec(stmt)
		must(t, err)
	}
	fmt.Println("\nwriting")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// keepLocked keeps everybody else from reading, for as long as it runs.
func keepLocked(t *testing.T, db *sql.DB) {
	_, err := db.Exec("PRAGMA locking_mode = EXCLUSIVE")
	must(t, err)
	must(t, transfer(db, 1, 2))
	fmt.Println("\nwriting")
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Println("\nwrote", 1)
}

// application is the test binary, started as an application.
type application struct {
	cmd   *exec.Cmd
	stdin io.Closer
	lines *bufio.Scanner
}

func startApplication(t *testing.T, path, job string) *application {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSQLiteApplicationProcess$")
	cmd.Env = append(os.Environ(), bankPath+"="+path, bankJob+"="+job)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	a := &application{cmd: cmd, stdin: stdin, lines: bufio.NewScanner(stdout)}
	a.await(t, "writing")
	return a
}

// await waits for a line and gives what follows its first word.
func (a *application) await(t *testing.T, word string) string {
	t.Helper()
	for a.lines.Scan() {
		if rest, ok := strings.CutPrefix(a.lines.Text(), word); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Fatalf("the application ended without saying %q", word)
	return ""
}

// stop ends it and gives the number of its transfers.
func (a *application) stop(t *testing.T) int {
	t.Helper()
	must(t, a.stdin.Close())
	n, err := strconv.Atoi(a.await(t, "wrote"))
	must(t, err)
	must(t, a.cmd.Wait())
	return n
}

func TestSQLiteDumpIsConsistentWhileAnotherProcessWrites(t *testing.T) {
	for _, journal := range []string{"wal", "delete"} {
		t.Run(journal, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.db")
			must(t, newBank(t, path, journal, 4000).Close())
			src, s := newSQLite(t, path), newShelf(t)
			app := startApplication(t, path, "write")
			last := 0
			for range 5 {
				e, _ := s.backup(t, src)
				n := checkBank(t, export(t, s, e))
				if n <= last {
					t.Errorf("%d transfers, and %d before", n, last)
				}
				last = n
			}
			wrote := app.stop(t)
			e, _ := s.backup(t, src)
			if n := checkBank(t, export(t, s, e)); n != 4000+wrote {
				t.Errorf("%d transfers, of %d", n, 4000+wrote)
			}
		})
	}
}

// Restoring while the database's folder has the leftovers of a killed
// application.
func TestSQLiteDumpRollsBackWhatAKilledProcessLeft(t *testing.T) {
	for _, journal := range []string{"wal", "delete"} {
		t.Run(journal, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.db")
			must(t, newBank(t, path, journal, 4000).Close())
			before := readText(t, path)
			app := startApplication(t, path, "die")
			must(t, app.cmd.Process.Kill())
			_ = app.cmd.Wait()
			if journal == "delete" && readText(t, path) == before {
				t.Fatal("the killed transaction has written nothing: the test is worth nothing")
			}
			src, s := newSQLite(t, path), newShelf(t)
			e, _ := s.backup(t, src)
			if n := checkBank(t, export(t, s, e)); n != 4000 {
				t.Errorf("%d transfers", n)
			}
		})
	}
}

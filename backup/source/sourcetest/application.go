package sourcetest

import (
	"bufio"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
)

// Variables by which a test starts its own binary as an application.
const (
	bankPath = "UNDERSTUDY_TEST_BANK"
	bankJob  = "UNDERSTUDY_TEST_BANK_JOB"
)

// RunApplication is what a test binary's TestSQLiteApplicationProcess does: it is the
// application, when the binary is started as one.
func RunApplication(t *testing.T) {
	path := os.Getenv(bankPath)
	if path == "" {
		return
	}
	db, err := sql.Open("sqlite", sqlitefile.URI(path, "_pragma=busy_timeout(60000)&_pragma=synchronous(off)&_txlock=immediate"))
	Must(t, err)
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
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	for n := 0; ; n++ {
		Must(t, Transfer(db, n%Accounts+1, n*7%Accounts+1))
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
		Must(t, err)
	}
	fmt.Println("\nwriting")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// keepLocked keeps everybody else from reading, for as long as it runs.
func keepLocked(t *testing.T, db *sql.DB) {
	_, err := db.Exec("PRAGMA locking_mode = EXCLUSIVE")
	Must(t, err)
	Must(t, Transfer(db, 1, 2))
	fmt.Println("\nwriting")
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Println("\nwrote", 1)
}

// Application is the test binary, started as an application.
type Application struct {
	Cmd   *exec.Cmd
	stdin io.Closer
	lines *bufio.Scanner
}

// StartApplication starts this test binary as an application that works on a bank.
func StartApplication(t *testing.T, path, job string) *Application {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestSQLiteApplicationProcess$")
	cmd.Env = append(os.Environ(), bankPath+"="+path, bankJob+"="+job)
	stdin, err := cmd.StdinPipe()
	Must(t, err)
	stdout, err := cmd.StdoutPipe()
	Must(t, err)
	Must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	a := &Application{Cmd: cmd, stdin: stdin, lines: bufio.NewScanner(stdout)}
	a.await(t, "writing")
	return a
}

// await waits for a line and gives what follows its first word.
func (a *Application) await(t *testing.T, word string) string {
	t.Helper()
	for a.lines.Scan() {
		if rest, ok := strings.CutPrefix(a.lines.Text(), word); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Fatalf("the application ended without saying %q", word)
	return ""
}

// Stop ends it and gives the number of its transfers.
func (a *Application) Stop(t *testing.T) int {
	t.Helper()
	Must(t, a.stdin.Close())
	n, err := strconv.Atoi(a.await(t, "wrote"))
	Must(t, err)
	Must(t, a.Cmd.Wait())
	return n
}

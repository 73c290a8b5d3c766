package e2e

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"

	"github.com/understudy-ha/understudy/e2e/server"
)

// sample is the sample application on one host.
type sample struct {
	dir    string
	ledger string        // shared by all hosts: what was ever acknowledged to anybody
	every  time.Duration // between two commits; 0: 20 ms
	as     []string      // what runs it, as another user say
	pg     *server.PostgresServer
	db     string
}

func (s *sample) args(verb string) []string {
	every := cmp.Or(s.every, 20*time.Millisecond)
	args := []string{verb, "--data=" + s.dir, "--run-dir=" + s.dir + "-run", "--ledger=" + s.ledger, "--interval=" + every.String()}
	if s.pg != nil {
		args = append(args, "--files=false", "--postgres="+s.pg.DSN(s.db))
	}
	return args
}

func (s *sample) run(t *testing.T, verb string) (string, error) {
	t.Helper()
	words := append(append(append([]string{}, s.as...), sampleBin()), s.args(verb)...)
	return output(words[0], words[1:]...)
}

// do has the application do something.
func (s *sample) do(t *testing.T, verb string) {
	t.Helper()
	if out, err := s.run(t, verb); err != nil {
		t.Fatalf("sample %s: %v\n%s", verb, err, out)
	}
}

func (s *sample) hook(verb string) string {
	words := append([]string{sampleBin()}, s.args(verb)...)
	for i, w := range words {
		words[i] = fmt.Sprintf("%q", w)
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func (s *sample) config() string {
	var sources string
	if s.pg != nil {
		sources = fmt.Sprintf("  - {name: db, postgres: {url: %q, admin_url: %q}}\n", s.pg.DSN(s.db), s.pg.DSN("postgres"))
	} else {
		sources = fmt.Sprintf("  - {name: uploads, directory: {path: %q, exclude: [\"**/*.tmp\"]}}\n", s.dir+"/uploads") +
			fmt.Sprintf("  - {name: static, directory: {path: %q}}\n", s.dir+"/static") +
			fmt.Sprintf("  - {name: db, sqlite: {path: %q}}\n", s.dir+"/sample.db")
	}
	return "application: {version: \"1.0\"}\nsources:\n" + sources + "hooks:\n" +
		"  promote: " + s.hook("start") + "\n" +
		"  demote: " + s.hook("stop") + "\n" +
		"  pre_backup: " + s.hook("quiesce") + "\n" +
		"  post_backup: " + s.hook("resume") + "\n"
}

func (s *sample) rows(t *testing.T) map[int64]string {
	t.Helper()
	if s.pg != nil {
		return readRows(t, "pgx", s.pg.DSN(s.db))
	}
	return readRows(t, "sqlite", "file:"+s.dir+"/sample.db?_pragma=busy_timeout(10000)")
}

func (s *sample) restored(t *testing.T, dir string) map[int64]string {
	t.Helper()
	if s.pg == nil {
		path := filepath.Join(dir, "db")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil // the salvage backup of a host that has no database yet
		}
		return readRows(t, "sqlite", "file:"+path)
	}
	name := "restored_" + strings.ToLower(strings.ReplaceAll(filepath.Base(dir), "-", "_"))
	execute(t, s.pg.DSN("postgres"), "CREATE DATABASE "+name+" TEMPLATE template0")
	out, err := output("pg_restore", "--exit-on-error", "--dbname", s.pg.DSN(name), filepath.Join(dir, "db", "dump.pgc"))
	if err != nil {
		t.Fatalf("pg_restore of the exported dump: %v\n%s", err, out)
	}
	return readRows(t, "pgx", s.pg.DSN(name))
}

func execute(t *testing.T, dsn, statement string) {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func readRows(t *testing.T, driver, dsn string) map[int64]string {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, err := db.QueryContext(ctx, "SELECT serial, sha256 FROM entries")
	if err != nil {
		t.Fatalf("read entries: %v", err)
	}
	defer rows.Close()
	have := map[int64]string{}
	for rows.Next() {
		var serial int64
		var sum string
		if err := rows.Scan(&serial, &sum); err != nil {
			t.Fatal(err)
		}
		have[serial] = sum
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return have
}

func (s *sample) running(t *testing.T) bool {
	t.Helper()
	_, err := s.run(t, "status")
	return err == nil
}

// starts counts the processes that ever served, by the application's own log.
func (s *sample) starts(t *testing.T) int {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(s.dir+"-run", "log"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(log), "sample: serving on")
}

func (s *sample) crash(t *testing.T) {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join(s.dir+"-run", "pid"))
	if err != nil {
		t.Fatalf("find the application's process: %v", err)
	}
	if out, err := exec.Command("kill", "-KILL", strings.TrimSpace(string(pid))).CombinedOutput(); err != nil {
		t.Fatalf("kill the application: %v\n%s", err, out)
	}
	if s.pg != nil {
		s.pg.Kill(t)
	}
}

func (s *sample) revive(t *testing.T) {
	t.Helper()
	if s.pg != nil {
		s.pg.Start(t)
	}
}

func (s *sample) stop(t *testing.T) {
	if out, err := s.run(t, "stop"); err != nil {
		t.Errorf("stop the application: %v\n%s", err, out)
	}
}

// acknowledged reads the ledger: every commit that a client was told of.
func (s *sample) acknowledged(t *testing.T) []entry {
	t.Helper()
	text, err := os.ReadFile(s.ledger)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var entries []entry
	for line := range strings.Lines(string(text)) {
		var e entry
		if _, err := fmt.Sscan(line, &e.serial, &e.sum); err != nil || !strings.HasSuffix(line, "\n") {
			continue // being written
		}
		entries = append(entries, e)
	}
	return entries
}

type entry struct {
	serial int64
	sum    string
}

// missing gives the entries that are not among the rows.
func missing(entries []entry, rows map[int64]string) []entry {
	var lost []entry
	for _, e := range entries {
		if rows[e.serial] != e.sum {
			lost = append(lost, e)
		}
	}
	return lost
}

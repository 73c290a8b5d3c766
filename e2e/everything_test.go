package e2e

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/e2e/server"
)

// everything is an application that is no process, with a source of every kind. Its
// state is the generations that were written to it, one after the other.
type everything struct {
	dir     string
	pg      *server.PostgresServer
	db      string
	metrics *server.PrometheusServer

	generations []int
}

func newEverything(t *testing.T, dir string, pg *server.PostgresServer, db string) *everything {
	t.Helper()
	e := &everything{dir: dir, pg: pg, db: db, metrics: server.Prometheus(t, "", "--web.enable-admin-api")}
	if err := os.MkdirAll(filepath.Join(dir, "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *everything) path(name string) string { return filepath.Join(e.dir, name) }

// config has the file, and one of the databases, within the directory.
func (e *everything) config() string {
	return fmt.Sprintf(`application: {version: "1.0"}
sources:
  - {name: files, directory: {path: %q}}
  - {name: settings, file: {path: %q}}
  - {name: local, sqlite: {path: %q}}
  - {name: db, postgres: {url: %q, admin_url: %q}}
  - {name: queue, command: {dump: [sh, -c, %q], restore: [dd, %q]}}
  - {name: metrics, prometheus: {url: %q, data_dir: %q, stop: [%s], start: [%s]}}
`, e.path("files"), e.path("files/settings.ini"), e.path("local.db"), e.pg.DSN(e.db), e.pg.DSN("postgres"), "test ! -e "+e.path("queue")+" || cat "+e.path("queue"), "of="+e.path("queue"),
		e.metrics.URL(), e.metrics.DataDir, strings.Join(e.metrics.StopCommand(), ", "), strings.Join(e.metrics.StartCommand(), ", ")) + idleHooks
}

func (e *everything) rows(*testing.T) map[int64]string             { return nil }
func (e *everything) restored(*testing.T, string) map[int64]string { return nil }
func (e *everything) running(*testing.T) bool                      { return false }
func (e *everything) starts(*testing.T) int                        { return 0 }
func (e *everything) crash(*testing.T)                             {}
func (e *everything) revive(*testing.T)                            {}
func (e *everything) stop(*testing.T)                              {}

func generationText(n int) string { return fmt.Sprintf("generation %d\n", n) }

func generationMetric(n int) string { return fmt.Sprintf("generation_%d", n) }

// write adds a generation to every source.
func (e *everything) write(t *testing.T, n int) {
	t.Helper()
	text := []byte(generationText(n))
	for _, name := range []string{fmt.Sprint("files/only-", n), "files/settings.ini", "queue"} {
		if err := os.WriteFile(e.path(name), text, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	newest := e.path("files/newest")
	if err := errors.Join(os.RemoveAll(newest), os.Symlink(fmt.Sprint("only-", n), newest)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"sqlite", "file:" + e.path("local.db")}, {"sqlite", "file:" + e.path("files/inner.db")}, {"pgx", e.pg.DSN(e.db)}} {
		insertGeneration(t, c[0], c[1], n)
	}
	e.metrics.WritePast(t, generationMetric(n), time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC))
	e.generations = append(slices.Clone(e.generations), n)
}

func insertGeneration(t *testing.T, driver, dsn string, n int) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		"CREATE TABLE IF NOT EXISTS generations (n integer PRIMARY KEY, text text)",
		fmt.Sprintf("INSERT INTO generations VALUES (%d, '%s')", n, strings.TrimSpace(generationText(n))),
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func readGenerations(t *testing.T, driver, dsn string) (all []int) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT n, text FROM generations ORDER BY n")
	if err != nil {
		t.Errorf("read generations: %v", err)
		return nil
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		var text string
		if err := rows.Scan(&n, &text); err != nil || text+"\n" != generationText(n) {
			t.Errorf("generation %d reads %q, %v", n, text, err)
		}
		all = append(all, n)
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
	return all
}

// live compares what is in place with the generations that have to be there.
func (e *everything) live(t *testing.T, want []int) {
	t.Helper()
	e.generations = want
	sameGenerations(t, "the directory", filesGenerations(t, e.path("files")), want)
	sameGenerations(t, "a database in the directory", readGenerations(t, "sqlite", "file:"+e.path("files/inner.db")), want)
	sameGenerations(t, "SQLite", readGenerations(t, "sqlite", "file:"+e.path("local.db")), want)
	sameGenerations(t, "PostgreSQL", readGenerations(t, "pgx", e.pg.DSN(e.db)), want)
	sameText(t, e.path("files/settings.ini"), want)
	sameText(t, e.path("queue"), want)
	for n := 1; n <= slices.Max(want)+1; n++ {
		samples := 0
		if slices.Contains(want, n) {
			samples = 10
		}
		finds(t, e.metrics, "count_over_time("+generationMetric(n)+"[100y])", samples)
	}
}

// exported compares what `understudy restore --to dir` wrote with the generations
// that have to be there.
func exported(t *testing.T, dir string, want []int) {
	t.Helper()
	sameGenerations(t, "the directory", filesGenerations(t, filepath.Join(dir, "files")), want)
	sameGenerations(t, "a database in the directory", readGenerations(t, "sqlite", "file:"+filepath.Join(dir, "files/inner.db")), want)
	sameGenerations(t, "SQLite", readGenerations(t, "sqlite", "file:"+filepath.Join(dir, "local")), want)
	sameText(t, filepath.Join(dir, "settings"), want)
	sameText(t, filepath.Join(dir, "queue", "output"), want)
	dump, err := output("pg_restore", "--file=-", filepath.Join(dir, "db", "dump.pgc"))
	if err != nil {
		t.Errorf("read the exported dump: %v\n%s", err, dump)
	}
	sameGenerations(t, "PostgreSQL's dump", generationsIn(dump, func(n int) string { return fmt.Sprintf("%d\t%s", n, generationText(n)) }), want)
	if err := os.Mkdir(filepath.Join(dir, "metrics", "wal"), 0o755); err != nil { // promtool wants one
		t.Error(err)
	}
	series, err := server.Promtool(t, "", "tsdb", "dump", filepath.Join(dir, "metrics"))
	if err != nil {
		t.Errorf("read the exported metrics: %v\n%s", err, series)
	}
	sameGenerations(t, "Prometheus", generationsIn(series, func(n int) string { return fmt.Sprintf("%q", generationMetric(n)) }), want)
}

// maxGeneration is more than any test writes.
const maxGeneration = 31

// generationsIn are those whose text is in another one.
func generationsIn(text string, of func(n int) string) (all []int) {
	for n := range maxGeneration {
		if strings.Contains(text, of(n)) {
			all = append(all, n)
		}
	}
	return all
}

func filesGenerations(t *testing.T, dir string) (all []int) {
	t.Helper()
	for n := range maxGeneration {
		switch text, err := os.ReadFile(filepath.Join(dir, fmt.Sprint("only-", n))); {
		case err == nil && string(text) == generationText(n):
			all = append(all, n)
		case !errors.Is(err, os.ErrNotExist):
			t.Errorf("generation %d in %s reads %q, %v", n, dir, text, err)
		}
	}
	if to, err := os.Readlink(filepath.Join(dir, "newest")); err != nil || len(all) == 0 || to != fmt.Sprint("only-", all[len(all)-1]) {
		t.Errorf("the symbolic link in %s leads to %q, %v", dir, to, err)
	}
	return all
}

func sameGenerations(t *testing.T, what string, got, want []int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s has the generations %v, want %v", what, got, want)
	}
}

// sameText checks a file that has the newest generation alone.
func sameText(t *testing.T, path string, want []int) {
	t.Helper()
	if text, err := os.ReadFile(path); err != nil || string(text) != generationText(want[len(want)-1]) {
		t.Errorf("%s reads %q, %v; want the newest of the generations %v", path, text, err, want)
	}
}

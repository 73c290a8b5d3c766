package postgres

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/outlet"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source/internal/pgclient"
	"github.com/understudy-ha/understudy/backup/source/internal/program"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// BenchmarkPostgresDump dumps a pgbench database of scale 10 and reports, as
// ratios of one run, the time against pg_dump to nowhere and what is stored
// after 1,000 more transactions against what was stored at first.
func BenchmarkPostgresDump(b *testing.B) {
	srv := server.Postgres(b)
	sqlIn(b, srv.DSN("postgres"), "CREATE DATABASE app")
	pgbench := findBeside(b, "pgbench")
	runTool(b, pgbench, "--initialize", "--quiet", "--scale=10", srv.DSN("app"))
	pgDump, err := pgclient.FindTool(b.Context(), "pg_dump", pgclient.MinServer)
	sourcetest.Must(b, err)
	src := newPostgresAt(b, srv, "app")

	var alone, ours time.Duration
	for b.Loop() {
		start := time.Now()
		runTool(b, pgDump.Path, "--format=custom", "--compress=0", "--dbname="+srv.DSN("app"))
		alone += time.Since(start)
		start = time.Now()
		sourcetest.NewVault(b).Backup(b, src)
		ours += time.Since(start)
	}
	s := sourcetest.NewVault(b)
	e, first := s.Backup(b, src)
	runTool(b, pgbench, "--transactions=1000", "--no-vacuum", srv.DSN("app"))
	_, second := s.Backup(b, src)
	b.Logf("first: %d bytes new, %d stored in %d chunks; second: %d new, %d stored in %d chunks", first.New, first.Stored, first.Chunks, second.New, second.Stored, second.Chunks)
	b.ReportMetric(float64(e.Size)/1e6, "MB")
	b.ReportMetric(ours.Seconds()/alone.Seconds(), "time/pg_dump")
	b.ReportMetric(float64(second.Stored)/float64(first.Stored), "stored/first")
}

// BenchmarkGrowthOfDatabases has an ever larger database, and reports for each step the
// processors' time of this process for one megabyte, and the peak of memory: of a first
// dump, of one after 1,000 transactions, and of a stage. What the server and its tools
// take is not in it.
func BenchmarkGrowthOfDatabases(b *testing.B) {
	debug.SetGCPercent(50) // as the program does
	for _, scale := range []int{7, 70, 700} {
		b.Run(fmt.Sprintf("GB=%.1f", float64(scale)/70), func(b *testing.B) {
			srv := server.Postgres(b)
			sqlIn(b, srv.DSN("postgres"), "CREATE DATABASE app")
			pgbench := findBeside(b, "pgbench")
			runTool(b, pgbench, "--initialize", "--quiet", fmt.Sprintf("--scale=%d", scale), srv.DSN("app"))
			src := newPostgresAt(b, srv, "app")
			vault := sourcetest.NewDiskVault(b)
			for b.Loop() {
				megabytes := float64(scale) / 70 * 1000
				var first, again pack.Stats
				sourcetest.Measure(b, "first", "MB", megabytes, func() { first = vault.Backup(b, src) })
				runTool(b, pgbench, "--transactions=1000", "--no-vacuum", srv.DSN("app"))
				sourcetest.Measure(b, "1000-transactions-later", "MB", megabytes, func() { again = vault.Backup(b, src) })
				b.ReportMetric(float64(first.Stored)/1e6, "first-MB-stored")
				b.ReportMetric(float64(again.Stored)/1e6, "1000-transactions-later-MB-stored")
				sourcetest.Measure(b, "stage", "MB", megabytes, func() {
					_, r := vault.Open(b)
					sourcetest.Must(b, src.Stage(b.Context(), r, vault.Entry))
				})
				sourcetest.Must(b, src.Discard(b.Context()))
			}
		})
	}
}

// findBeside finds a program that is installed beside pg_dump.
func findBeside(t testing.TB, name string) string {
	t.Helper()
	for _, path := range pgclient.ToolPaths("pg_dump") {
		if found, err := exec.LookPath(filepath.Join(filepath.Dir(path), name)); err == nil {
			return found
		}
	}
	t.Fatalf("%s is missing: install the programs of the PostgreSQL server", name)
	return ""
}

// runTool runs a program with its output going nowhere.
func runTool(t testing.TB, argv ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Stdout = io.Discard
	stderr := &outlet.Tail{Max: program.StderrKept}
	cmd.Stderr = stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(fmt.Errorf("run %s: %w: %s", argv, err, stderr))
	}
}

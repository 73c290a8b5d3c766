package e2e

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
)

// TestAStagedDatabaseThatSomebodyWroteToIsRestoredAgain before it is promoted, and
// the events say so. Who is connected to the database at the swap is named.
func TestAStagedDatabaseThatSomebodyWroteToIsRestoredAgain(t *testing.T) {
	t.Parallel()
	one, two := server.Postgres(t), server.Postgres(t)
	for _, pg := range []*server.PostgresServer{one, two} {
		execute(t, pg.DSN("postgres"), "CREATE DATABASE app")
	}
	execute(t, one.DSN("app"), "CREATE TABLE t AS SELECT 'of the active' AS row")
	c := newCluster(t, "file://"+filepath.Join(t.TempDir(), "bucket"), nil)
	a, b := c.host("host-a", &databaseApp{pg: one}), c.host("host-b", &databaseApp{pg: two})
	a.run("init")
	a.serve()
	a.run("backup")
	b.run("join")
	b.serve()
	b.rehearses()
	staged := "app_understudy_staged"
	execute(t, two.DSN("postgres"), "ALTER DATABASE "+staged+" ALLOW_CONNECTIONS true")
	execute(t, two.DSN(staged), "INSERT INTO t VALUES ('of somebody')")
	execute(t, two.DSN("postgres"), "ALTER DATABASE "+staged+" ALLOW_CONNECTIONS false")
	db, err := sql.Open("pgx", two.DSN("app")+"&application_name=nightly")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}

	p := query[promotions.PromotionStatus](b, "promote", "--yes")
	if p.State != promotions.PromotionDone {
		t.Fatalf("promotion: %+v", p)
	}
	var rows string
	if err := db.QueryRowContext(t.Context(), "SELECT string_agg(row, ', ') FROM t").Scan(&rows); err != nil || rows != "of the active" {
		t.Errorf("rows %q, %v", rows, err)
	}
	session := "role postgres (nightly) in database app from 127.0.0.1"
	named := func(s ha.Step) bool {
		return s.Name == "swap" && strings.Contains(s.Note, "it ended session ") && strings.Contains(s.Note, session)
	}
	if !slices.ContainsFunc(p.Steps, named) {
		t.Errorf("no step of the promotion names who was connected: %+v", p.Steps)
	}
	events := query[[]event.Event](b, "events", "--limit", "100")
	for what, want := range map[string][]string{
		"the stage":   {string(event.Alarm), staged, "somebody has opened or written to", "restored again"},
		"the session": {string(event.Warn), "the swap ended session", session},
	} {
		said := func(e event.Event) bool {
			return string(e.Level) == want[0] && !slices.ContainsFunc(want[1:], func(text string) bool { return !strings.Contains(e.Text, text) })
		}
		if !slices.ContainsFunc(events, said) {
			t.Errorf("no event tells of %s", what)
		}
	}
}

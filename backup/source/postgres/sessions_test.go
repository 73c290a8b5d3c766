package postgres

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// Whoever is connected to the live database is named, and Understudy itself is
// not.
func TestPostgresNamesWhoIsConnected(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE sessions")
	p := newPostgresAt(t, srv, "sessions")
	sourcetest.Must(t, p.Check(t.Context())) // with connections of its own
	if who, err := p.Sessions(t.Context()); err != nil || len(who) > 0 {
		t.Fatalf("nobody is connected: %q, %v", who, err)
	}
	app := connect(t, srv.DSN("sessions")+"&application_name=shop")
	if who, err := p.Sessions(t.Context()); err != nil || len(who) != 1 || !strings.Contains(who[0], "(shop) in database sessions") {
		t.Errorf("one is connected: %q, %v", who, err)
	}
	connect(t, srv.DSN("postgres")) // to another database
	sourcetest.Must(t, app.Close(t.Context()))
	srv.Stop(t)
	if _, err := p.Sessions(t.Context()); err == nil {
		t.Error("a server that is down has nobody connected")
	}
}

package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/globals"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
)

// A PostgreSQL database likewise: what it replaced is kept closed to connections.
func TestHowFarASwapOfADatabaseHasComeIsSeen(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE a_stage")
	seen := map[source.Reach]bool{}
	for n, more := 1, true; more; n++ {
		var reach source.Reach
		reach, more = reachDatabase(t, srv, n)
		seen[reach] = true
	}
	if !seen[source.ReachStaged] || !seen[source.ReachPlaced] {
		t.Errorf("reaches seen: %v", seen)
	}
}

func reachDatabase(t *testing.T, srv *server.PostgresServer, n int) (reach source.Reach, more bool) {
	t.Helper()
	name := fmt.Sprint("reach_", n)
	p := newPostgresAt(t, srv, name)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE "+name, "CREATE DATABASE "+p.Staged()+" TEMPLATE a_stage")
	sqlIn(t, srv.DSN(name), "CREATE TABLE before ()")
	leaveStaged(t, p, &globals.State{})
	if reach, err := p.Reach(t.Context()); err != nil || reach != source.ReachStaged {
		t.Errorf("staged: %v, %v", reach, err)
	}
	fault, stopped := sourcetest.StopAfter(n)
	p.db.fault = fault
	err := p.Swap(t.Context())
	if stopped() != (err != nil) {
		t.Fatal(err)
	}
	p.db.fault = swap.NoFault
	reach, err = p.Reach(t.Context())
	sourcetest.Must(t, err)
	count := func(database string) int {
		return len(ask(t, srv.DSN(database), "SELECT relname FROM pg_class WHERE relname = 'before'"))
	}
	if reach != source.ReachPlaced {
		sourcetest.Must(t, p.SwapBack(t.Context()))
		if count(name) != 1 {
			t.Errorf("stop %d: the old database did not come back", n)
		}
	} else {
		sourcetest.Must(t, p.Swap(t.Context()))
		kept, err := p.Keep(t.Context())
		sourcetest.Must(t, err)
		sourcetest.Must(t, p.Discard(t.Context()))
		if kept != "database "+name+"_understudy_kept_1" || count(name) != 0 {
			t.Errorf("stop %d: kept %q", n, kept)
		}
		there, err := p.IsKept(t.Context(), kept)
		sourcetest.Must(t, err)
		gone, err := p.IsKept(t.Context(), kept+"0")
		sourcetest.Must(t, err)
		if !there || gone || !p.Keeps(kept) || p.Keeps("database another_understudy_kept_1") || p.Keeps("/"+name) {
			t.Errorf("stop %d: %s is there: %v, %s0: %v", n, kept, there, kept, gone)
		}
		sqlIn(t, srv.DSN("postgres"), openTo(strings.TrimPrefix(kept, "database ")))
		if count(strings.TrimPrefix(kept, "database ")) != 1 {
			t.Errorf("stop %d: what was replaced is not what is kept", n)
		}
	}
	sourcetest.MustSweep(t, p)
	if after, err := p.Reach(t.Context()); err != nil || after != source.ReachNone {
		t.Errorf("stop %d: in the end: %v, %v", n, after, err)
	}
	return reach, stopped()
}

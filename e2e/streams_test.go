package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// serverApp is an application that is a PostgreSQL server and nothing else.
type serverApp struct {
	databaseApp
	pg   *server.PostgresFolder
	more string // of the source's configuration: ", key: value"
}

func (o *serverApp) config() string {
	words := func(argv []string) string {
		text, err := json.Marshal(argv)
		if err != nil {
			panic(err)
		}
		return string(text)
	}
	return fmt.Sprintf("sources:\n  - {name: db, postgres_cluster: {data_dir: %q, url: %q, start: %s, stop: %s%s}}\nhooks:\n  promote: ['true']\n  demote: ['true']\n",
		o.pg.Data(), o.pg.DSN("postgres"), words(o.pg.StartCommand()), words(o.pg.StopCommand()), o.more)
}

// commits is what a writer was told: its rows, in their order, each with when its commit was
// acknowledged.
type commits struct {
	mu    sync.Mutex
	acked []time.Time // row i+1
}

func (l *commits) rows() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// since is how long before a moment a row was acknowledged; 0 for the last one and beyond.
func (l *commits) since(row int, at time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if row >= len(l.acked) {
		return 0
	}
	return at.Sub(l.acked[row]) // of the first row that is missing
}

// writes has rows written to a server, 200 a second, until a write fails or the function
// that it returns is called.
func (l *commits) writes(t *testing.T, dsn string) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS ledger (row bigint PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = conn.Close(context.Background()) }()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := conn.Exec(ctx, "INSERT INTO ledger VALUES ($1)", l.rows()+1); err != nil {
				return
			}
			l.mu.Lock()
			l.acked = append(l.acked, time.Now())
			l.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// read is how many rows of the ledger a server has, which must be the first ones.
func (l *commits) read(t *testing.T, dsn string) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var n, last int
	if err := conn.QueryRow(t.Context(), "SELECT count(*), coalesce(max(row), 0) FROM ledger").Scan(&n, &last); err != nil {
		t.Fatal(err)
	}
	if n != last {
		t.Errorf("%d rows, up to row %d: some between are missing", n, last)
	}
	return n
}

// answer is the first column of the first row of a query, as text.
func answer(t *testing.T, dsn, query string) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), "SELECT ("+query+")::text").Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// timeline is the one that a server is on.
func timeline(t *testing.T, dsn string) string {
	t.Helper()
	return answer(t, dsn, "SELECT ('x'||substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int")
}

// serverPair is an active with a PostgreSQL server, and a standby that has none yet.
type serverPair struct {
	*cluster
	a, b *host
	on   map[*host]*server.PostgresFolder
}

func newServerPair(t *testing.T, more string) *serverPair {
	t.Helper()
	return newServerPairOf(t, newCluster(t, "file://"+filepath.Join(t.TempDir(), "bucket"), nil), false, more, func(p *serverPair) { p.on[p.a].Start(t) })
}

// newServerPairOf is newServerPair in a cluster, with servers that may wait for their disk,
// of which begin starts the first.
func newServerPairOf(t *testing.T, c *cluster, durable bool, more string, begin func(*serverPair)) *serverPair {
	t.Helper()
	p := &serverPair{cluster: c, on: map[*host]*server.PostgresFolder{}}
	for _, name := range []string{"host-a", "host-b"} {
		pg := server.NewPostgresFolder(t)
		pg.Durable = durable
		h := p.host(name, &serverApp{pg: pg, more: more})
		p.on[h] = pg
	}
	p.a, p.b = p.hosts[0], p.hosts[1]
	begin(p)
	if err := os.RemoveAll(p.on[p.b].Data()); err != nil {
		t.Fatal(err)
	}
	p.a.run("init")
	p.a.serve()
	p.a.runLong("backup")
	p.b.run("join")
	p.b.serve()
	p.b.long("has staged the backup", func(s report.Status) bool { return s.LastBackup != nil && s.Staged == s.LastBackup.ID })
	return p
}

// streams waits until a host's log is shipped, or its replica follows, up to a moment.
func (h *host) streams(after time.Time) {
	h.t.Helper()
	h.eventually("its stream goes on", func() error {
		s := h.status()
		for _, one := range s.Streams {
			if one.Part > 0 && one.Time.After(after) {
				return nil
			}
		}
		return fmt.Errorf("streams %+v; problems %q", s.Streams, s.Problems)
	})
}

// TestAFailoverLosesSeconds: the active's host and its disk are lost while 200 rows a second
// are written. What the standby has is all but the last second or so, in order.
func TestAFailoverLosesSeconds(t *testing.T) {
	t.Parallel()
	p := newServerPair(t, "")
	var l commits
	end := l.writes(t, p.on[p.a].DSN("postgres"))
	p.a.streams(time.Now())
	p.b.streams(time.Now())
	p.a.killAgent()
	p.on[p.a].Kill(t)
	lost := time.Now()
	end()
	if err := os.RemoveAll(p.on[p.a].Data()); err != nil {
		t.Fatal(err)
	}
	promoted := query[promotions.PromotionStatus](p.b, "promote", "--failover", "--host-is-off", "--yes")
	if promoted.State != promotions.PromotionDone {
		t.Fatalf("promotion: %+v", promoted)
	}
	n := l.read(t, p.on[p.b].DSN("postgres"))
	t.Logf("%d of %d rows, %v lost; took %+v", n, l.rows(), l.since(n, lost), promoted.Steps)
	if age := l.since(n, lost); age > 5*time.Second {
		t.Errorf("rows of the last %v are lost", age)
	}
	more := l.rows()
	l.mu.Lock()
	l.acked = l.acked[:n]
	l.mu.Unlock()
	end = l.writes(t, p.on[p.b].DSN("postgres"))
	eventually(t, "rows are written on the new active", func() error {
		if l.rows() < more {
			return errors.New("not yet")
		}
		return nil
	})
	end()
	p.b.streams(time.Now().Add(-time.Minute))
}

// TestSwitchoversOfAServerLoseNothing, back and forth, with rows written up to each: each
// server is on a timeline of its own, and has every row that was acknowledged.
func TestSwitchoversOfAServerLoseNothing(t *testing.T) {
	t.Parallel()
	p := newServerPair(t, "")
	var l commits
	active, standby := p.a, p.b
	seen := map[string]bool{}
	for turn := range 3 {
		end := l.writes(t, p.on[active].DSN("postgres"))
		standby.streams(time.Now())
		promoted := query[promotions.PromotionStatus](standby, "promote", "--yes")
		if promoted.State != promotions.PromotionDone {
			t.Fatalf("promotion %d: %+v", turn, promoted)
		}
		end()
		dsn := p.on[standby].DSN("postgres")
		if n := l.read(t, dsn); n < l.rows() {
			t.Fatalf("promotion %d: %d of %d rows", turn, n, l.rows())
		}
		line := timeline(t, dsn)
		if seen[line] {
			t.Errorf("timeline %s once more", line)
		}
		seen[line] = true
		t.Logf("promotion %d: %d rows, timeline %s, application stopped for %v; took %+v", turn, l.rows(), line, promoted.Downtime, promoted.Steps)
		active, standby = standby, active
		standby.eventually("it is a standby that has rehearsed", func() error {
			if s := standby.status(); s.State != report.StateInSync || s.Staged == "" {
				return fmt.Errorf("%s, staged %q; problems %q", s.State, s.Staged, s.Problems)
			}
			return nil
		})
	}
}

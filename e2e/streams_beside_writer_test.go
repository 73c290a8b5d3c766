package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/e2e/server"
)

// timedWriter commits 200 rows a second, and knows of each when that was and where in the
// log the row is.
type timedWriter struct {
	table string

	mu   sync.Mutex
	rows []timedRow
}

type timedRow struct {
	sent, acked time.Time
	at          uint64 // in the log, before the row's commit and behind that of the row before
}

func (w *timedWriter) create(t *testing.T, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "CREATE TABLE "+w.table+" (row bigint PRIMARY KEY, text text)"); err != nil {
		t.Fatal(err)
	}
}

// writes writes until the function that it returns is called. The first checkpoint is
// done: what a page's first change costs does not come from one that a tool has asked for.
func (w *timedWriter) writes(t *testing.T, pg *server.PostgresFolder) (end func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pg.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "CHECKPOINT"); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		text := strings.Repeat("understudy", 10)
		for n := int64(1); ; n++ {
			row := timedRow{sent: time.Now()}
			err := conn.QueryRow(t.Context(), "INSERT INTO "+w.table+" VALUES ($1, $2) RETURNING pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint", n, text).Scan(&row.at)
			if err != nil {
				t.Errorf("write row %d: %v", n, err)
				return
			}
			row.acked = time.Now()
			w.mu.Lock()
			w.rows = append(w.rows, row)
			w.mu.Unlock()
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(stop)
		<-done
	}
}

// position is where the newest row is; 0: there is none.
func (w *timedWriter) position() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rows) == 0 {
		return 0
	}
	return w.rows[len(w.rows)-1].at
}

// latencies are those of the commits between two moments.
func (w *timedWriter) latencies(from, to time.Time) (all []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, row := range w.rows {
		if row.sent.After(from) && row.acked.Before(to) {
			all = append(all, row.acked.Sub(row.sent))
		}
	}
	return all
}

// ages say, for each look at the bucket between two moments, for how long the first row
// that was not in it had been acknowledged. A row is in it once the next one's place is.
func (w *timedWriter) ages(seen []seenPosition, from, to time.Time) (all []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	missing := 0
	for _, one := range seen {
		for missing+1 < len(w.rows) && w.rows[missing+1].at <= one.to {
			missing++
		}
		if one.at.Before(from) || one.at.After(to) || missing >= len(w.rows) {
			continue
		}
		all = append(all, max(0, one.at.Sub(w.rows[missing].acked)))
	}
	return all
}

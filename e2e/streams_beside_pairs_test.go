package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/e2e/server"
)

// spans are what a writer's commits took on one server while its log was shipped, and while
// nobody did, in turn: a disk has good and bad minutes, which are longer than any difference.
type spans struct{ shipped, alone [][]time.Duration }

// spansOf measures pairs of spans. Which one of a pair is first changes, as a, b, b, a.
func spansOf(t *testing.T, pg *server.PostgresFolder, w *streamsWay, pairs int, each time.Duration) (s spans) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pg.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	writes := timedWriter{table: "paired"}
	writes.create(t, pg.DSN("postgres"))
	end := writes.writes(t, pg)
	defer end()
	take := func() []time.Duration {
		began := time.Now()
		<-time.After(each)
		return writes.latencies(began, time.Now())
	}
	shipped := func() { s.shipped = append(s.shipped, take()) }
	alone := func() {
		w.pauses(t)
		s.alone = append(s.alone, take())
		w.goesOn(t, conn)
		<-time.After(each / 4) // what had gathered is shipped
	}
	for n := range pairs {
		if n%2 == 0 {
			shipped()
			alone()
		} else {
			alone()
			shipped()
		}
	}
	return s
}

// pauses has nobody ship the server's log: the agent stands still, and asks the server nothing.
func (w *streamsWay) pauses(t *testing.T) {
	t.Helper()
	w.cluster.suspend(w.a.agent.Process)
	t.Cleanup(func() { _ = w.a.agent.Process.Signal(syscall.SIGCONT) }) // or it could not be ended
}

// goesOn ends a pause, and returns once what was written meanwhile is shipped.
func (w *streamsWay) goesOn(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	var written string
	if err := conn.QueryRow(t.Context(), "SELECT pg_current_wal_flush_lsn()::text").Scan(&written); err != nil {
		t.Fatal(err)
	}
	if err := w.a.agent.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was written in the pause is shipped", func() error {
		var shipped bool
		err := conn.QueryRow(t.Context(), "SELECT bool_or(restart_lsn >= $1::text::pg_lsn) FROM pg_replication_slots WHERE slot_name NOT LIKE '%_backup'", written).Scan(&shipped)
		if err == nil && !shipped {
			err = errors.New("it is not")
		}
		return err
	})
}

// felt is a portion of the commits' times while the log was shipped, as a multiple of that
// while it was not, with the bounds between which nine tenths of such measurements lie: pairs
// are drawn anew from those there are (B. Efron, Bootstrap Methods, 1979).
type felt struct{ ratio, least, most float64 }

func (s spans) felt(share float64) (felt, error) {
	if len(s.alone) == 0 || len(s.alone) != len(s.shipped) {
		return felt{}, errors.New("no pairs were measured")
	}
	of := func(pair func(int) int) float64 {
		var shipped, alone []time.Duration
		for n := range s.alone {
			shipped, alone = append(shipped, s.shipped[pair(n)]...), append(alone, s.alone[pair(n)]...)
		}
		return portion(shipped, share).Seconds() / portion(alone, share).Seconds()
	}
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret
	drawn := make([]float64, 500)
	for i := range drawn {
		pairs := make([]int, len(s.alone))
		for n := range pairs {
			pairs[n] = rng.IntN(len(pairs))
		}
		drawn[i] = of(func(n int) int { return pairs[n] })
	}
	slices.Sort(drawn)
	return felt{ratio: of(func(n int) int { return n }), least: drawn[len(drawn)/20], most: drawn[len(drawn)*19/20]}, nil
}

// text is what was felt, for the page.
func (s spans) text() string {
	var lines string
	for _, of := range []struct {
		name  string
		share float64
	}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}} {
		f, err := s.felt(of.share)
		if err != nil {
			return ""
		}
		lines += fmt.Sprintf("| %s | %s | %s | %.2f | %.2f to %.2f |\n", of.name, portion(slices.Concat(s.alone...), of.share), portion(slices.Concat(s.shipped...), of.share), f.ratio, f.least, f.most)
	}
	return fmt.Sprintf("## What a writer feels\n\nOn one server, %d times in turn: the log is shipped, and it is not (the agent stands still). All commits of either kind together; the last column has the bounds between which nine of ten such measurements lie.\n\n| | alone | shipped | times | between |\n| --- | --- | --- | --- | --- |\n%s\n", len(s.alone), lines)
}

package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/stream"
)

// feeding has a stage follow what is shipped.
func feeding(t *testing.T, src *Source, begin func() *shipping) func(from stream.Position, log []byte) {
	return func(from stream.Position, log []byte) {
		if err := src.Feed(t.Context(), begin().begin, from, log); err != nil {
			t.Errorf("feed at %d: %v", from, err)
		}
	}
}

// askReplica asks the server that runs on a stage.
func askReplica(t *testing.T, src *Source, query string) (text string, err error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), fmt.Sprintf("host=%s port=5432 user=postgres dbname=postgres", src.Staged()))
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	err = conn.QueryRow(t.Context(), "SELECT ("+query+")::text").Scan(&text)
	return text, err
}

// pair are an active and a standby whose stage follows.
type pair struct {
	a, b     *testServer
	from, to *Source
	v        *sourcetest.Vault
	log      *shipping
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{a: newTestServer(t), b: newTestServer(t), v: sourcetest.NewVault(t)}
	p.from, p.to = p.a.source(nil), p.b.source(nil)
	t.Cleanup(func() { _ = p.to.Discard(context.WithoutCancel(t.Context())) })
	sourcetest.Must(t, p.from.Start(t.Context(), 1))
	p.a.sql("CREATE TABLE ledger (n int PRIMARY KEY)")
	e, _ := p.v.Backup(t, p.from)
	p.v.Stage(t, p.to, e)
	return p
}

// follow has the stage follow from where it is.
func (p *pair) follow(t *testing.T) {
	t.Helper()
	at, ok, err := p.to.Followed(t.Context(), nil)
	if err != nil || !ok {
		t.Fatalf("followed: %v, %t, %v", at, ok, err)
	}
	ready := make(chan struct{})
	p.log = ship(t, p.from, &at, func(from stream.Position, log []byte) {
		<-ready
		feeding(t, p.to, func() *shipping { return p.log })(from, log)
	})
	close(ready)
}

// TestAReplicaFollowsAndIsPromoted: row for row, in a switchover.
func TestAReplicaFollowsAndIsPromoted(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	before, err := p.to.Fingerprint(t.Context())
	sourcetest.Must(t, err)
	p.follow(t)
	p.a.bench(1)
	end := p.a.pgbench("-c", "2", "-T", "2")
	for n := range 50 {
		p.a.sql(fmt.Sprintf("INSERT INTO ledger VALUES (%d)", n))
	}
	eventually(t, func() bool {
		got, err := askReplica(t, p.to, "SELECT count(*) FROM ledger")
		return err == nil && got == "50"
	})
	end()
	if after, err := p.to.Fingerprint(t.Context()); err != nil || after != before {
		t.Errorf("the stage is taken for another one: %q, %q, %v", before, after, err)
	}
	want := p.a.rows()
	// The active is stopped with all that it has shipped.
	sourcetest.Must(t, p.from.Stop(t.Context()))
	<-p.log.ended
	begun := time.Now()
	sourcetest.Must(t, p.to.CatchUp(t.Context(), p.log.at()))
	sourcetest.Must(t, p.to.Swap(t.Context()))
	sourcetest.Must(t, p.to.Start(t.Context(), 2))
	t.Logf("from the end of the log to taking writes: %v", time.Since(begun))
	sourcetest.Must(t, p.to.Discard(t.Context()))
	if got := p.b.rows(); got != want {
		t.Errorf("rows: %s instead of %s", got, want)
	}
	if got := p.b.timeline(); got != "00000002" {
		t.Errorf("timeline %s", got)
	}
	p.b.sql("INSERT INTO ledger VALUES (1000)")
}

// killReplica kills the replica's server, once what has come is fed to it.
func (p *pair) killReplica(t *testing.T) {
	t.Helper()
	stage := &testServer{t: t, data: p.to.Staged()}
	data := sourcetest.Held(t, stage.data)
	eventually(t, func() bool {
		pid, err := runningIn(data)
		return err == nil && pid != 0
	})
	stage.kill()
}

// TestAReplicaSurvivesKills of itself, of who feeds it, and of the active.
func TestAReplicaSurvivesKills(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for round := range 4 {
		p.follow(t)
		for n := range 20 {
			p.a.sql(fmt.Sprintf("INSERT INTO ledger VALUES (%d)", 100*round+n))
		}
		p.log.reaches(p.a)
		switch round {
		case 0:
			p.log.close() // another process feeds, and finds the server
		case 1:
			p.log.close()
			p.killReplica(t)
		case 2:
			p.killReplica(t) // while it is fed
			p.a.sql("INSERT INTO ledger VALUES (999)")
			p.log.reaches(p.a)
			p.log.close()
		case 3:
			p.a.kill()
			<-p.log.ended
			p.log.close()
		}
	}
	at, ok, err := p.to.Followed(t.Context(), nil)
	if err != nil || !ok {
		t.Fatalf("followed: %v, %t, %v", at, ok, err)
	}
	sourcetest.Must(t, p.to.CatchUp(t.Context(), at))
	sourcetest.Must(t, p.to.Swap(t.Context()))
	sourcetest.Must(t, p.to.Start(t.Context(), 2))
	if got := p.b.ask("SELECT count(*) FROM ledger"); got != "81" {
		t.Errorf("%s rows", got)
	}
	checkPages(t, p.b)
}

// TestAReplicaThatIsFurtherThanABackupGoesOn: its server works while that is staged.
func TestAReplicaThatIsFurtherThanABackupGoesOn(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	first := p.v.Prev.Entry
	p.follow(t)
	p.a.sql("INSERT INTO ledger VALUES (1)")
	e, _ := p.v.Backup(t, p.from)
	p.a.sql("INSERT INTO ledger VALUES (2)")
	p.log.reaches(p.a)
	p.log.close()
	data := sourcetest.Held(t, p.to.Staged())
	before, err := runningIn(data)
	if err != nil || before == 0 {
		t.Fatalf("process %d, %v", before, err)
	}
	at, _, err := p.to.Followed(t.Context(), nil)
	sourcetest.Must(t, err)
	sourcetest.Must(t, p.to.Advance(t.Context(), p.v.Reader(), first, e))
	if after, err := runningIn(data); err != nil || after != before {
		t.Errorf("process %d, and then %d, %v", before, after, err)
	}
	if still, ok, err := p.to.Followed(t.Context(), nil); err != nil || !ok || still != at {
		t.Errorf("it was at %d, and is at %d, %t, %v", at, still, ok, err)
	}
	// A backup that is further stops it, and it goes on from there.
	p.a.sql("INSERT INTO ledger VALUES (3)")
	more, _ := p.v.Backup(t, p.from)
	sourcetest.Must(t, p.to.Advance(t.Context(), p.v.Reader(), e, more))
	p.follow(t)
	p.a.sql("INSERT INTO ledger VALUES (4)")
	p.log.reaches(p.a)
	p.log.close()
	eventually(t, func() bool {
		got, err := askReplica(t, p.to, "SELECT count(*) FROM ledger")
		return err == nil && got == "4"
	})
}

// TestABystanderFollowsTheNextActive: its stage goes on by the log of the next timeline.
func TestABystanderFollowsTheNextActive(t *testing.T) {
	t.Parallel()
	p, c := newPair(t), newTestServer(t)
	other := c.source(nil)
	t.Cleanup(func() { _ = other.Discard(context.WithoutCancel(t.Context())) })
	p.v.Stage(t, other, p.v.Prev.Entry)
	at, _, err := other.Followed(t.Context(), nil)
	sourcetest.Must(t, err)
	var log *shipping
	ready := make(chan struct{})
	log = ship(t, p.from, &at, func(from stream.Position, data []byte) {
		<-ready
		for _, to := range []*Source{p.to, other} {
			feeding(t, to, func() *shipping { return log })(from, data)
		}
	})
	close(ready)
	p.a.sql("INSERT INTO ledger SELECT generate_series(1, 1000)")
	log.reaches(p.a)
	p.a.kill() // a failover
	<-log.ended
	sourcetest.Must(t, p.to.CatchUp(t.Context(), log.at()))
	sourcetest.Must(t, p.to.Swap(t.Context()))
	sourcetest.Must(t, p.to.Start(t.Context(), 3)) // epoch 2 was of nobody
	sourcetest.Must(t, p.to.Discard(t.Context()))
	if got := p.b.timeline(); got != "00000003" {
		t.Errorf("timeline %s", got)
	}
	p.b.sql("INSERT INTO ledger SELECT generate_series(1001, 3000)")

	var next *shipping
	open := make(chan struct{})
	next = ship(t, p.to, nil, func(from stream.Position, data []byte) {
		<-open
		feeding(t, other, func() *shipping { return next })(from, data)
	})
	close(open)
	next.reaches(p.b)
	eventually(t, func() bool {
		got, err := askReplica(t, other, "SELECT count(*) FROM ledger")
		return err == nil && got == "3000"
	})
	// And is promoted itself.
	sourcetest.Must(t, p.to.Stop(t.Context()))
	<-next.ended
	sourcetest.Must(t, other.CatchUp(t.Context(), next.at()))
	sourcetest.Must(t, other.Swap(t.Context()))
	sourcetest.Must(t, other.Start(t.Context(), 7))
	if got := c.ask("SELECT count(*) FROM ledger"); got != "3000" {
		t.Errorf("%s rows", got)
	}
	if got := c.timeline(); got != "00000007" {
		t.Errorf("timeline %s", got)
	}
}

// TestLogThatDoesNotFitIsRefused, each kind with a line of its own.
func TestLogThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	at, _, err := p.to.Followed(t.Context(), nil)
	sourcetest.Must(t, err)
	log := ship(t, p.from, &at, nil)
	begin := string(log.begin)
	log.close()
	feed := func(begin string, from stream.Position) error {
		return p.to.Feed(t.Context(), []byte(begin), from, []byte("log"))
	}
	is := factsIn(t, p.v.Prev.Entry)
	system, major := fmt.Sprint(is.System), is.Major
	sourcetest.MustFail(t, feed(strings.Replace(begin, system, "17", 1), at), "the log is of server 17, and the stage of "+system)
	sourcetest.MustFail(t, feed(strings.Replace(begin, fmt.Sprintf(`"major":%d`, major), `"major":99`, 1), at), fmt.Sprintf("the log is of PostgreSQL 99, and the stage of %d: stage a backup of that version", major))
	sourcetest.MustFail(t, feed(strings.Replace(begin, `"timeline":1`, `"timeline":9`, 1), at), "timeline 9 does not come from timeline 1")
	if err := feed(begin, at+1); !errors.Is(err, source.ErrGap) {
		t.Errorf("a gap: %v", err)
	}
	if err := feed(begin, at-3); !errors.Is(err, source.ErrDiverged) {
		t.Errorf("other log than the stage has: %v", err)
	}
	sourcetest.MustFail(t, p.to.CatchUp(t.Context(), at+1000), "the stage's log ends at")
	sourcetest.Must(t, p.to.Discard(t.Context()))
	sourcetest.MustFail(t, feed(begin, at), "nothing is staged")
	if _, ok, err := p.to.Followed(t.Context(), nil); ok || err != nil {
		t.Errorf("nothing is staged: %t, %v", ok, err)
	}
}

// TestAReplicaGetsLargerSettings when the active does: it would pause, and could not be
// promoted.
func TestAReplicaGetsLargerSettings(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.follow(t)
	p.a.sql("INSERT INTO ledger VALUES (1)")
	p.log.reaches(p.a)
	p.a.stop()
	<-p.log.ended
	p.log.close()
	p.a.configure("max_connections = 150")
	p.a.start()
	p.follow(t)
	p.a.sql("INSERT INTO ledger VALUES (2)")
	to := p.log.reaches(p.a)
	sourcetest.Must(t, p.to.CatchUp(t.Context(), to))
	sourcetest.Must(t, p.to.OpenStage(t.Context()))
	if got, err := askReplica(t, p.to, "SELECT count(*) FROM ledger"); err != nil || got != "2" {
		t.Errorf("%s rows, %v", got, err)
	}
	sourcetest.Must(t, p.to.CloseStage(t.Context()))
	if _, err := askReplica(t, p.to, "SELECT 1"); err == nil {
		t.Error("a closed stage is open")
	}
	if left, err := filepath.Glob(filepath.Join(p.to.Staged(), "core*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

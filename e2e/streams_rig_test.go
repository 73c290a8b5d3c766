package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
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

// diary is a table of which one writer writes a row after the other, on one server and then
// on the next. Each row says when it was written first, so that no other row takes its place.
type diary struct {
	mu    sync.Mutex
	sent  []string    // what row i+1 says
	acked []time.Time // when its commit was acknowledged; of the last one that was sent perhaps not
}

// rows is how many rows were acknowledged.
func (d *diary) rows() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.acked)
}

// write has rows written to a server, 200 a second, until a write fails or the function that
// it returns is called.
func (d *diary) write(t *testing.T, dsn string) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS diary (row bigint PRIMARY KEY, said text NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = conn.Close(context.Background()) }()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for d.next(ctx, conn) == nil {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(cancel)
	return func() {
		cancel()
		<-done
	}
}

func (d *diary) next(ctx context.Context, conn *pgx.Conn) error {
	said := time.Now().Format(time.RFC3339Nano)
	d.mu.Lock()
	d.sent = append(d.sent[:len(d.acked)], said)
	row := len(d.sent)
	d.mu.Unlock()
	// A row is never half sent: its answer may be lost, and it may be there.
	if _, err := conn.Exec(context.WithoutCancel(ctx), "INSERT INTO diary VALUES ($1, $2)", row, said); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acked = append(d.acked, time.Now())
	return nil
}

// grows waits until more rows were acknowledged.
func (d *diary) grows(t *testing.T, by int) {
	t.Helper()
	target := d.rows() + by
	eventually(t, "rows are written", func() error {
		if n := d.rows(); n < target {
			return fmt.Errorf("%d rows of %d", n, target)
		}
		return nil
	})
}

// diaryOf are the rows of a server.
func diaryOf(t *testing.T, dsn string) (rows []string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	all, err := conn.Query(t.Context(), "SELECT row, said FROM diary ORDER BY row")
	if err != nil {
		t.Fatal(err)
	}
	var row int
	var said string
	if _, err := pgx.ForEachRow(all, []any{&row, &said}, func() error {
		if row != len(rows)+1 {
			return fmt.Errorf("row %d follows row %d", row, len(rows))
		}
		rows = append(rows, said)
		return nil
	}); err != nil {
		t.Error(err)
	}
	return rows
}

// goesOn compares a server with what was written, row for row, and goes on from there. It
// returns how many acknowledged rows the server lacks, and how long before a moment the first
// of them was acknowledged.
func (d *diary) goesOn(t *testing.T, dsn string, at time.Time) (lost int, age time.Duration) {
	t.Helper()
	rows := diaryOf(t, dsn)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, said := range rows {
		if i >= len(d.sent) || d.sent[i] != said {
			t.Fatalf("row %d says %q, of %d rows that were written", i+1, said, len(d.sent))
		}
	}
	n := len(rows)
	if lost = max(0, len(d.acked)-n); lost > 0 {
		age = at.Sub(d.acked[n])
	}
	d.sent = d.sent[:n]
	for len(d.acked) < n {
		d.acked = append(d.acked, at) // it was there, though its answer was not
	}
	d.acked = d.acked[:n]
	return lost, age
}

// serverPair is hosts with a PostgreSQL server each: a is the active when a test begins, b
// the first of its standbys.
type serverPair struct {
	*cluster
	a, b *host
	on   map[*host]*server.PostgresFolder
}

// serverSetup is what newServers may be told.
type serverSetup struct {
	cluster *cluster // nil: one whose bucket is a folder
	more    string   // of the sources' configuration: ", key: value"
	timed   bool     // the servers wait for their disks, and the agents log what they do by default
	fill    func(first *server.PostgresFolder)
}

// newServers is hosts with a PostgreSQL server each. The first one is the active; the others
// have none yet, and are standbys that follow.
func newServers(t *testing.T, s serverSetup, names ...string) *serverPair {
	t.Helper()
	if s.cluster == nil {
		s.cluster = newCluster(t, folderBucket(t), nil)
	}
	p := &serverPair{cluster: s.cluster, on: map[*host]*server.PostgresFolder{}}
	for _, name := range names {
		pg := server.NewPostgresFolder(t)
		h := p.host(name, &serverApp{pg: pg, more: s.more})
		if s.timed {
			pg.Durable = true
			h.env = append(h.env, "UNDERSTUDY_LOG_LEVEL=info")
		}
		p.on[h] = pg
	}
	p.a = p.hosts[0]
	p.on[p.a].Start(t)
	if s.fill != nil {
		s.fill(p.on[p.a])
	}
	p.a.run("init")
	p.a.serve()
	for _, set := range [][2]string{{"stop_timeout", "10s"}, {"margin", "2s"}, {"ttl", "20s"}} {
		p.a.run("config", "set", set[0], set[1])
	}
	p.a.runLong("backup")
	for _, h := range p.hosts[1:] {
		p.joins(h)
	}
	if len(p.hosts) > 1 {
		p.b = p.hosts[1]
	}
	return p
}

// joins makes a host, whose server has no data, a standby that has staged the backup.
func (p *serverPair) joins(h *host) {
	p.t.Helper()
	if err := os.RemoveAll(p.on[h].Data()); err != nil {
		p.t.Fatal(err)
	}
	h.run("join")
	h.serve()
	h.long("has staged the backup", func(s report.Status) bool { return s.LastBackup != nil && s.Staged == s.LastBackup.ID })
}

// folderBucket is a bucket that is a folder.
func folderBucket(t *testing.T) string { return "file://" + filepath.Join(t.TempDir(), "bucket") }

// stream is how far the one stream of a host is.
func (h *host) stream() report.StreamStatus {
	h.t.Helper()
	if all := h.status().Streams; len(all) == 1 {
		return all[0]
	}
	return report.StreamStatus{}
}

// ships waits until all that is written by now is in the bucket.
func (h *host) ships() report.StreamStatus {
	h.t.Helper()
	now := time.Now()
	var s report.StreamStatus
	h.eventually("what is written by now is in the bucket", func() error {
		if s = h.stream(); s.Replica || !s.Runs || !s.Based || s.UpTo.Before(now) {
			return fmt.Errorf("%+v; problems %q", s, h.status().Problems)
		}
		return nil
	})
	return s
}

// follows waits until a replica has what was written up to now. Somebody has to write: a
// quiet server ships nothing by which that could be seen.
func (h *host) follows() {
	h.t.Helper()
	now := time.Now()
	h.eventually("its replica has what is written by now", func() error {
		if s := h.stream(); !s.Replica || !s.Runs || s.UpTo.Before(now) {
			return fmt.Errorf("%+v; problems %q", s, h.status().Problems)
		}
		return nil
	})
}

// settles waits until a host is a standby that has the newest backup staged.
func (h *host) settles() {
	h.t.Helper()
	h.eventually("it is a standby that has rehearsed", func() error {
		if s := h.status(); s.State != report.StateInSync || s.Staged == "" || s.Demotion != nil {
			return fmt.Errorf("%s, staged %q, owes %v; problems %q", s.State, s.Staged, s.Demotion, s.Problems)
		}
		return nil
	})
}

// promotes has a host promoted.
func (h *host) promotes(args ...string) promotions.PromotionStatus {
	h.t.Helper()
	return h.promoted(query[promotions.PromotionStatus](h, append([]string{"promote", "--yes"}, args...)...))
}

// promotesSoon is promotes where the bucket was away: the agent asks it again soon, and
// refuses until then.
func (h *host) promotesSoon(args ...string) promotions.PromotionStatus {
	h.t.Helper()
	args = append([]string{"promote", "--yes", "--json"}, args...)
	var p promotions.PromotionStatus
	h.eventually("it uses the bucket again", func() error {
		r := h.try(args...)
		switch said := r.out + r.errout; {
		case r.code == 3 && strings.Contains(said, "the bucket cannot be used"):
			return errors.New(said)
		case r.code != 0:
			h.t.Fatalf("%s: understudy %s: exit %d\n%s", h.name, strings.Join(args, " "), r.code, said)
		}
		return json.Unmarshal([]byte(r.out), &p)
	})
	return h.promoted(p)
}

// promoted is a promotion that has to be done.
func (h *host) promoted(p promotions.PromotionStatus) promotions.PromotionStatus {
	h.t.Helper()
	if p.State != promotions.PromotionDone {
		h.t.Fatalf("promotion: %+v", p)
	}
	return p
}

// takesOver promotes b by a switchover, once it follows: it has every row that was
// acknowledged.
func (p *serverPair) takesOver(d *diary, end func()) {
	p.t.Helper()
	p.b.follows()
	p.b.settles()
	p.b.promotes()
	end()
	if lost, _ := d.goesOn(p.t, p.on[p.b].DSN("postgres"), time.Now()); lost > 0 {
		p.t.Errorf("%d rows are lost", lost)
	}
}

// wakesToAnEnd has the active that was replaced while it was suspended go on, with a server
// that is written to: nothing gets into its stream, which is closed, and its server stops.
func (p *serverPair) wakesToAnEnd(d *diary, stream string) {
	p.t.Helper()
	closed := p.parts(stream)
	d.grows(p.t, 50)
	if err := p.a.agent.Process.Signal(syscall.SIGCONT); err != nil {
		p.t.Fatal(err)
	}
	p.a.settles()
	if now := p.parts(stream); !slices.Equal(now, closed) {
		p.t.Errorf("%d parts, and the stream was closed with %d", len(now), len(closed))
	}
	if p.on[p.a].Runs() {
		p.t.Error("the server of the active that was replaced runs")
	}
}

// crashes kills a host's agent and its server.
func (p *serverPair) crashes(h *host) (at time.Time) {
	p.t.Helper()
	h.killAgent()
	p.on[h].Kill(p.t)
	return time.Now()
}

// said waits until a host tells something in its log.
func (h *host) said(words ...string) {
	h.t.Helper()
	h.eventually(fmt.Sprintf("tells %q", words), func() error {
		if !h.told(words...) {
			return errors.New("not told")
		}
		return nil
	})
}

// told reports whether a host's log has a line with words.
func (h *host) told(words ...string) bool {
	h.t.Helper()
	text, err := os.ReadFile(h.path("agent.log"))
	if err != nil {
		h.t.Fatal(err)
	}
	return slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
	})
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

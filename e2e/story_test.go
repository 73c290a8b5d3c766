package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// story is three hosts, of which host-a begins as the active.
type story struct {
	t       *testing.T
	a, b, c *host
	ledger  ledger
	scratch int
	gone    map[entry]bool       // commits that the failover lost
	same    func(from, to *host) // compares files byte for byte
}

// ledger knows what the application's clients were told is kept.
type ledger interface {
	acknowledged(t *testing.T) []entry
}

// missing gives the acknowledged commits that are not among the rows, and were
// not lost before.
func (s *story) missing(acknowledged []entry, rows map[int64]string) []entry {
	return slices.DeleteFunc(missing(acknowledged, rows), func(e entry) bool { return s.gone[e] })
}

// TestStoryPostgres is the main job with two real PostgreSQL servers and an S3
// bucket, under a writer that records every commit.
func TestStoryPostgres(t *testing.T) {
	t.Parallel()
	minio := server.SharedMinIO(t)
	c := newCluster(t, minio.NewBucket(t), minio.Env())
	one, two := server.Postgres(t), server.Postgres(t)
	apps := []*sample{{pg: one, db: "app"}, {pg: two, db: "app"}, {pg: two, db: "app_c"}}
	for _, s := range apps {
		execute(t, s.pg.DSN("postgres"), "CREATE DATABASE "+s.db)
	}
	newSampleStory(t, c, apps).tell()
}

// TestStoryFiles is the same with directories and SQLite, compared byte for
// byte, on every kind of store.
func TestStoryFiles(t *testing.T) {
	t.Parallel()
	for _, p := range providers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			bucket, env := p.open(t)
			c := newCluster(t, bucket, env)
			s := newSampleStory(t, c, []*sample{{}, {}, {}})
			static := filepath.Join(s.a.app.(*sample).dir, "static")
			sourcetest.WriteTree(t, static, 7, sourcetest.TreeSize{Files: 60, Bytes: 4 << 20})
			sourcetest.WriteOddities(t, static)
			s.same = sameTrees(t)
			s.tell()
		})
	}
}

// sameTrees compares two hosts' directories.
func sameTrees(t *testing.T) func(from, to *host) {
	return func(from, to *host) {
		sourcetest.CompareTrees(t, filepath.Join(from.app.(*sample).dir, "static"), filepath.Join(to.app.(*sample).dir, "static"))
		uploads := filepath.Join(from.app.(*sample).dir, "uploads")
		sourcetest.CompareTrees(t, uploads, filepath.Join(to.app.(*sample).dir, "uploads"), newIn(uploads))
	}
}

// newIn ignores what is not in a folder, and the folders that hold such files:
// the new active's application writes already.
func newIn(dir string) func(string) bool {
	return func(path string) bool {
		info, err := os.Lstat(filepath.Join(dir, path))
		return err != nil || info.IsDir()
	}
}

// newSampleStory is a story of the sample application.
func newSampleStory(t *testing.T, c *cluster, apps []*sample) *story {
	t.Helper()
	var all []application
	ledger := filepath.Join(c.dir, "ledger")
	for i, app := range apps {
		app.dir, app.ledger = filepath.Join(c.dir, fmt.Sprint("app-", i)), ledger
		for _, sub := range []string{"uploads", "static"} {
			if err := os.MkdirAll(filepath.Join(app.dir, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, app)
	}
	// The application runs before Understudy comes, as anybody's does.
	apps[0].do(t, "start")
	return newStory(t, c, apps[0], all)
}

// newStory has a host for each application. The first one runs.
func newStory(t *testing.T, c *cluster, l ledger, apps []application) *story {
	t.Helper()
	var hosts []*host
	for i, app := range apps {
		hosts = append(hosts, c.host(fmt.Sprint("host-", string(rune('a'+i))), app))
	}
	return &story{t: t, a: hosts[0], b: hosts[1], c: hosts[2], ledger: l, gone: map[entry]bool{}}
}

func (s *story) tell() {
	s.setUp()
	s.switchover(s.a, s.b)
	s.failover(s.b, s.a)
	s.comeBack(s.b, s.a)
	s.switchover(s.a, s.b)
}

func (s *story) setUp() {
	s.t.Helper()
	s.a.run("init")
	s.a.serve()
	for _, h := range []*host{s.b, s.c} {
		h.run("join")
		h.serve()
	}
	for _, kv := range [][2]string{{"stop_timeout", "5s"}, {"margin", "2s"}, {"ttl", "15s"}} {
		s.a.run("config", "set", kv[0], kv[1])
	}
	s.a.is(report.StateActive)
	s.moreWrites(50)
}

// moreWrites waits until n more commits were acknowledged.
func (s *story) moreWrites(n int) {
	s.t.Helper()
	target := len(s.ledger.acknowledged(s.t)) + n
	eventually(s.t, "the application goes on writing", func() error {
		if got := len(s.ledger.acknowledged(s.t)); got < target {
			return fmt.Errorf("%d commits of %d", got, target)
		}
		return nil
	})
}

// replicate makes a backup on the active and waits until the standbys cache it.
func (s *story) replicate(active *host, standbys ...*host) backup.Ref {
	s.t.Helper()
	ref := query[backup.Ref](active, "backup", "--reason", "test")
	for _, h := range standbys {
		h.caches(ref.ID)
	}
	return ref
}

// switchover: nothing is lost, and the old active is a standby.
func (s *story) switchover(from, to *host) {
	s.t.Helper()
	s.replicate(from, to, s.c)
	s.moreWrites(20)
	starts := from.app.starts(s.t)
	p := query[promotions.PromotionStatus](to, "promote", "--yes")
	if p.State != promotions.PromotionDone {
		s.t.Fatalf("promotion: %+v", p)
	}
	acknowledged := s.ledger.acknowledged(s.t)
	if lost := s.missing(acknowledged, to.app.rows(s.t)); len(lost) > 0 {
		s.t.Fatalf("the switchover lost %d of %d acknowledged commits: %v …", len(lost), len(acknowledged), lost[0])
	}
	from.is(report.StateInSync)
	to.is(report.StateActive)
	if from.app.running(s.t) || from.app.starts(s.t) != starts {
		s.t.Fatal("the old active's application runs, or was started again")
	}
	if s.same != nil {
		s.same(from, to)
	}
	s.moreWrites(20)
}

// failover after the active and its database were killed: exactly what came
// after the restored backup is lost.
func (s *story) failover(dead, to *host) {
	s.t.Helper()
	before := s.ledger.acknowledged(s.t)
	s.replicate(dead, to, s.c)
	s.moreWrites(30)
	dead.killAgent()
	dead.app.crash(s.t)
	acknowledged := s.ledger.acknowledged(s.t)

	p := query[promotions.PromotionStatus](to, "promote", "--failover", "--yes")
	if p.State != promotions.PromotionDone {
		s.t.Fatalf("promotion: %+v", p)
	}
	inBackup := s.restored(to, p.Backup)
	if lost := s.missing(before, inBackup); len(lost) > 0 {
		s.t.Fatalf("the backup lacks %d commits that were acknowledged before it was asked for: %v …", len(lost), lost[0])
	}
	want := s.missing(acknowledged, inBackup)
	got := s.missing(acknowledged, to.app.rows(s.t))
	if len(want) == 0 || !slices.Equal(got, want) {
		s.t.Fatalf("the failover lost %d commits, and %d came after the restored backup", len(got), len(want))
	}
	for _, e := range got {
		s.gone[e] = true
	}
	to.is(report.StateActive)
	s.moreWrites(20)
}

// comeBack: the old active steps down before its application starts, salvages
// what the failover lost, and follows the new active.
func (s *story) comeBack(old, active *host) {
	s.t.Helper()
	acknowledged := s.ledger.acknowledged(s.t)
	lost := missing(acknowledged, active.app.rows(s.t))
	starts := old.app.starts(s.t)
	old.app.revive(s.t)
	old.serve()
	old.eventually("steps down and salvages", func() error {
		if d := old.status().Demotion; d != nil {
			return fmt.Errorf("owes %+v", d)
		}
		return nil
	})
	if old.app.running(s.t) || old.app.starts(s.t) != starts {
		s.t.Fatal("the old active started its application")
	}
	salvaged := s.restored(active, s.salvage(active))
	if still := missing(lost, salvaged); len(lost) == 0 || len(still) > 0 {
		s.t.Fatalf("the failover lost %d commits, of which the salvage backup lacks %d", len(lost), len(still))
	}
	s.replicate(active, old, s.c)
	old.is(report.StateInSync)
}

// salvage finds the salvage backup.
func (s *story) salvage(h *host) string {
	s.t.Helper()
	var id string
	h.eventually("lists the salvage backup", func() error {
		for _, b := range query[[]control.BackupInfo](h, "backups") {
			if b.Salvage {
				id = b.ID
				return nil
			}
		}
		return errors.New("not listed")
	})
	return id
}

// restored reads the application's table as it is in a backup, through the
// offline restore.
func (s *story) restored(h *host, id string) map[int64]string {
	s.t.Helper()
	s.scratch++
	dir := filepath.Join(h.dir, fmt.Sprint("restore-", s.scratch))
	h.run("restore", id, "--to", dir)
	return h.app.restored(s.t, dir)
}

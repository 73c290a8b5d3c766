package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/understudy-ha/understudy/backup"
)

// parts are the files of a stream, in a bucket that is a folder: the oldest first.
func (p *serverPair) parts(stream string) (paths []string) {
	p.t.Helper()
	dir := filepath.Join(strings.TrimPrefix(p.bucket, "file://"), "streams", "db", stream)
	all, err := os.ReadDir(dir)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range all {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	slices.Sort(paths)
	return paths
}

// TestAStreamOutlivesItsProcesses: the agent is killed, the server is restarted, the server is
// killed, both are, while rows are written. The stream goes on over what was shipped.
func TestAStreamOutlivesItsProcesses(t *testing.T) {
	t.Parallel()
	p := newServers(t, serverSetup{cluster: newCluster(t, folderBucket(t), nil).raced()}, "host-a", "host-b")
	pg := p.on[p.a]
	var d diary
	end := d.write(t, pg.DSN("postgres"))
	d.grows(t, 50)
	first := p.a.ships()
	for _, trouble := range []struct {
		what string
		do   func()
	}{
		{"the agent is killed", func() { p.a.killAgent(); d.grows(t, 50); p.a.serve() }},
		{"the agent ends", func() { p.a.stopAgent(); d.grows(t, 50); p.a.serve() }},
		{"the server is restarted", func() { pg.Stop(t); pg.Start(t) }},
		{"the server is killed", func() { pg.Kill(t); pg.Start(t) }},
		{"both are killed", func() { p.crashes(p.a); pg.Start(t); p.a.serve() }},
	} {
		trouble.do()
		end()
		if lost, _ := d.goesOn(t, pg.DSN("postgres"), time.Now()); lost > 0 {
			t.Fatalf("%s: the server itself has lost %d rows", trouble.what, lost)
		}
		end = d.write(t, pg.DSN("postgres"))
		d.grows(t, 50)
		s := p.a.ships()
		t.Logf("%s: part %d of %s", trouble.what, s.Part, s.Stream)
		if s.Stream != first.Stream || s.Part < first.Part {
			t.Errorf("%s: the stream is %s, part %d; it was %s, part %d", trouble.what, s.Stream, s.Part, first.Stream, first.Part)
		}
		p.b.follows()
	}
	if p.a.told("a new base was made") {
		t.Error("a new base was made, and the stream needs none")
	}
	end()
	p.b.follows()
	at := p.crashes(p.a)
	p.b.promotes("--failover", "--host-is-off")
	if lost, _ := d.goesOn(t, p.on[p.b].DSN("postgres"), at); lost > 0 {
		t.Errorf("%d rows are lost that were in the bucket", lost)
	}
}

// dropsSlots drops the slots of a server, once nobody receives from them.
func (p *serverPair) dropsSlots(dsn string) {
	p.t.Helper()
	eventually(p.t, "the slots are free", func() error {
		conn, err := pgx.Connect(p.t.Context(), dsn)
		if err != nil {
			return err
		}
		defer conn.Close(p.t.Context())
		_, err = conn.Exec(p.t.Context(), "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
		return err
	})
}

// TestASlotThatIsGoneIsAGap: somebody has dropped the agent's slots, and the server has
// deleted the log. It is told; a new stream begins, and the replica is built anew.
func TestASlotThatIsGoneIsAGap(t *testing.T) {
	t.Parallel()
	p := newServers(t, serverSetup{}, "host-a", "host-b")
	dsn := p.on[p.a].DSN("postgres")
	var d diary
	end := d.write(t, dsn)
	d.grows(t, 50)
	before := p.a.ships()
	p.b.follows()
	p.a.killAgent()
	p.dropsSlots(dsn)
	for range 4 {
		d.grows(t, 20)
		execute(t, dsn, "SELECT pg_switch_wal()")
		execute(t, dsn, "CHECKPOINT")
	}
	p.a.serve()
	p.a.said("level=ERROR", "the log of db has a gap")
	if s := p.a.ships(); s.Stream == before.Stream {
		t.Errorf("it goes on in stream %s", s.Stream)
	}
	d.grows(t, 50)
	p.takesOver(&d, end)
}

// TestAPartThatWasChangedOrDeletedIsNamed by whoever needs it. Nothing is made up in its
// place; the next backup leads past it.
func TestAPartThatWasChangedOrDeletedIsNamed(t *testing.T) {
	t.Parallel()
	for what, damage := range map[string]func(path string) error{
		"changed": func(path string) error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			data[len(data)/2] ^= 1
			return os.WriteFile(path, data, 0o600)
		},
		"deleted": os.Remove,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := newServers(t, serverSetup{}, "host-a", "host-b")
			var d diary
			end := d.write(t, p.on[p.a].DSN("postgres"))
			d.grows(t, 50)
			p.b.follows()
			p.b.killAgent()
			before := p.a.stream()
			p.a.eventually("ships more parts", func() error {
				if s := p.a.stream(); s.Part < before.Part+4 {
					return fmt.Errorf("%+v", s)
				}
				return nil
			})
			path := p.parts(before.Stream)[before.Part+1] // the second one that the standby lacks
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			p.b.serve()
			named := fmt.Sprintf("streams/db/%s/%012d", before.Stream, before.Part+2)
			p.b.eventually("names the part", func() error {
				s := p.b.status()
				if !slices.ContainsFunc(s.Problems, func(text string) bool { return strings.Contains(text, named) }) {
					return fmt.Errorf("problems %q, streams %+v", s.Problems, s.Streams)
				}
				return nil
			})
			p.a.run("backup")
			p.takesOver(&d, end)
		})
	}
}

// TestTwoAgentsOnOneServer: the second one is told why its log is not shipped. The first one's
// stream goes on.
func TestTwoAgentsOnOneServer(t *testing.T) {
	t.Parallel()
	p := newServers(t, serverSetup{}, "host-a")
	var d diary
	end := d.write(t, p.on[p.a].DSN("postgres"))
	defer end()
	d.grows(t, 50)
	before := p.a.ships()
	other := newCluster(t, folderBucket(t), nil).host("other", &serverApp{pg: p.on[p.a]})
	other.run("init")
	other.serve()
	other.eventually("says that another agent receives", func() error {
		s := other.status()
		if !slices.ContainsFunc(s.Problems, func(text string) bool {
			return strings.Contains(text, "let one agent alone work on a server")
		}) {
			return fmt.Errorf("problems %q, streams %+v", s.Problems, s.Streams)
		}
		return nil
	})
	d.grows(t, 50)
	if s := p.a.ships(); s.Stream != before.Stream {
		t.Errorf("stream %s, and it was %s", s.Stream, before.Stream)
	}
	other.stopAgent()
	d.grows(t, 50)
	p.a.run("backup")
	if s := p.a.ships(); s.Stream != before.Stream {
		t.Errorf("stream %s, and it was %s", s.Stream, before.Stream)
	}
}

// TestAnOlderBackupEndsTheStream: what was shipped behind it is not applied. The active, which
// stands still meanwhile, ships nothing more when it goes on.
func TestAnOlderBackupEndsTheStream(t *testing.T) {
	t.Parallel()
	p := newServers(t, serverSetup{}, "host-a", "host-b")
	dsn := p.on[p.a].DSN("postgres")
	var d diary
	end := d.write(t, dsn)
	d.grows(t, 50)
	end()
	ref := query[backup.Ref](p.a, "backup")
	then := diaryOf(t, dsn)
	end = d.write(t, dsn)
	defer end()
	d.grows(t, 50)
	p.a.run("backup")
	d.grows(t, 50)
	stream := p.a.ships().Stream
	p.b.follows()
	p.suspend(p.a.agent.Process)
	p.b.promotes("--failover", "--host-is-off", ref.ID)
	if rows := diaryOf(t, p.on[p.b].DSN("postgres")); !slices.Equal(rows, then) {
		t.Errorf("%d rows, and the backup has %d", len(rows), len(then))
	}
	p.wakesToAnEnd(&d, stream)
}

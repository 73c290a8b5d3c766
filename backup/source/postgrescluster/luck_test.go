package postgrescluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/stream"
)

// smallDisk makes a disk of a server's owner.
func smallDisk(t *testing.T, s *testServer, size string) (path string) {
	t.Helper()
	path = filepath.Join(s.dir, "small")
	sourcetest.Mounting(t, "tmpfs", path, "tmpfs", 0)
	sourcetest.Must(t, unix.Mount("tmpfs", path, "tmpfs", unix.MS_REMOUNT, "size="+size))
	if s.owner != nil {
		sourcetest.Must(t, os.Chown(path, int(s.owner.Uid), int(s.owner.Gid)))
	}
	return path
}

// filled takes all the room of a disk, until the function that it returns is called.
func filled(t *testing.T, s *testServer, disk string) (empty func()) {
	t.Helper()
	ballast := filepath.Join(disk, "ballast")
	if s.command("dd", "if=/dev/zero", "of="+ballast, "bs=1M").Run() == nil {
		t.Fatal("the disk is not full")
	}
	return func() { sourcetest.Must(t, os.Remove(ballast)) }
}

// TestAServerWhoseDiskIsFullIsTold while its log is shipped: it ends, and says why in its own
// log alone. With room, the stream and the base go on, and what was acknowledged is there.
func TestAServerWhoseDiskIsFullIsTold(t *testing.T) {
	t.Parallel()
	sourcetest.NeedRoot(t)
	s := newTestServer(t)
	s.stop()
	small := smallDisk(t, s, "128m")
	s.run("mv", s.data, filepath.Join(small, "data"))
	s.data = filepath.Join(small, "data")
	t.Cleanup(func() { _ = s.command(s.stopCommand()...).Run() }) // before its disk is away
	s.start()
	src, v := s.source(nil), sourcetest.NewVault(t)
	s.sql("CREATE TABLE ledger (n int PRIMARY KEY)")
	base, _ := v.Backup(t, src)
	log := ship(t, src, nil, nil)
	s.sql("INSERT INTO ledger VALUES (0)")
	sourcetest.Must(t, log.log.Confirm(log.reaches(s)))

	empty := filled(t, s, small)
	acknowledged := 0
	for err := error(nil); err == nil; {
		if _, err = s.exec(fmt.Sprintf("INSERT INTO ledger VALUES (%d)", acknowledged+1)); err == nil {
			acknowledged++
			_, err = s.exec("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1 << 20))")
		}
	}
	sourcetest.MustFail(t, src.Check(t.Context()), "the disk is full that "+s.data+"/pg_wal lies on", "make room")
	_ = s.command(filepath.Join(s.bin, "pg_ctl"), "-D", s.data, "-m", "immediate", "-w", "stop").Run() // it may have ended
	<-log.ended
	to := log.at()
	log.close()
	for what, err := range map[string]error{"doctor": src.Check(t.Context()), "a stream": opens(t, src, &to), "what it keeps": keeps(t, src)} {
		t.Logf("%s: %v", what, err)
		sourcetest.MustFail(t, err, "the disk is full that "+s.data+"/pg_wal lies on", "make room, and start the server")
		if !errors.Is(err, source.ErrFull) {
			t.Errorf("%s: %v", what, err)
		}
	}

	empty()
	s.start()
	next := ship(t, src, &to, nil)
	next.reaches(s)
	if got := s.ask("SELECT count(*) FROM ledger"); got != fmt.Sprint(acknowledged+1) && got != fmt.Sprint(acknowledged+2) { // one may have come in without an answer
		t.Errorf("%s rows, and %d were acknowledged", got, acknowledged+1)
	}
	if e, _ := v.Backup(t, src); !e.Root.Equal(base.Root) || len(e.Warnings) > 0 {
		t.Errorf("same base %t, warnings %q", e.Root.Equal(base.Root), e.Warnings)
	}
	sourcetest.Must(t, src.Check(t.Context()))
}

// TestAReplicaWhoseDiskIsFullIsTold, and goes on once there is room.
func TestAReplicaWhoseDiskIsFullIsTold(t *testing.T) {
	t.Parallel()
	sourcetest.NeedRoot(t)
	p := newPair(t)
	small := smallDisk(t, p.b, "160m")
	p.to = p.b.source(func(c *Config) { c.DataDir = filepath.Join(small, "data") })
	t.Cleanup(func() { _ = p.to.Discard(context.WithoutCancel(t.Context())) }) // before its disk is away
	p.v.Stage(t, p.to, p.v.Prev.Entry)
	at, _, err := p.to.Followed(t.Context(), nil)
	sourcetest.Must(t, err)
	log := ship(t, p.from, &at, nil)
	p.a.sql("INSERT INTO ledger SELECT generate_series(1, 150000)")
	log.reaches(p.a)
	log.close()
	empty := filled(t, p.b, small)
	err = p.to.Feed(t.Context(), log.begin, log.from, log.got)
	if !errors.Is(err, source.ErrFull) {
		t.Errorf("error %v", err)
	}
	empty()
	sourcetest.Must(t, p.to.Feed(t.Context(), log.begin, log.from, log.got))
	eventually(t, func() bool {
		got, err := askReplica(t, p.to, "SELECT count(*) FROM ledger")
		return err == nil && got == "150000"
	})
}

func opens(t *testing.T, src *Source, from *stream.Position) error {
	t.Helper()
	log, err := src.OpenLog(t.Context(), from)
	if err == nil {
		err = errors.Join(errors.New("it is shipped"), log.Close())
	}
	return err
}

func keeps(t *testing.T, src *Source) error {
	t.Helper()
	_, err := src.Kept(t.Context(), nil)
	return err
}

// TestWhatKeepsALogFromBeingShippedIsSaid, with what mends it: each came after the set-up.
func TestWhatKeepsALogFromBeingShippedIsSaid(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	s.sql("CREATE ROLE app LOGIN REPLICATION", "GRANT pg_monitor TO app")
	src := s.source(s.role("app"))
	log := ship(t, src, nil, nil)
	to := log.reaches(s)
	log.close()

	s.sql("ALTER ROLE app NOREPLICATION")
	sourcetest.MustFail(t, opens(t, src, &to), `ALTER ROLE "app" REPLICATION`)
	s.sql("ALTER ROLE app REPLICATION", "REVOKE pg_monitor FROM app")
	sourcetest.MustFail(t, opens(t, src, &to), `GRANT pg_monitor TO "app"`)
	s.sql("GRANT pg_monitor TO app", "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")

	restarted := func(lines ...string) {
		s.configure(lines...)
		s.stop()
		s.start()
	}
	restarted("wal_level = minimal", "max_wal_senders = 0")
	sourcetest.MustFail(t, opens(t, src, &to), "ALTER SYSTEM SET wal_level = 'replica'")
	restarted("wal_level = replica")
	sourcetest.MustFail(t, opens(t, src, &to), "ALTER SYSTEM SET max_wal_senders")
	restarted("max_wal_senders = 10", "max_replication_slots = 0")
	sourcetest.MustFail(t, opens(t, src, &to), "ALTER SYSTEM SET max_replication_slots")
	restarted("max_replication_slots = 10")
	ship(t, src, nil, nil).reaches(s)
}

// TestAServerThatIsTooOldIsRefused by its version, whoever asks.
func TestAServerThatIsTooOldIsRefused(t *testing.T) {
	t.Parallel()
	for major, refused := range map[int]bool{minMajor - 1: true, minMajor: false, minMajor + 1: false} {
		a := answer{Facts: Facts{Major: major}, WalBlock: 8192}
		if err := a.fit(); (err != nil) != refused {
			t.Errorf("PostgreSQL %d: %v", major, err)
		} else if refused {
			sourcetest.MustFail(t, err, fmt.Sprintf("the server runs PostgreSQL %d: %d is the oldest that is supported", major, minMajor))
		}
	}
}

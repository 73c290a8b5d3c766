package postgrescluster

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// packaged are programs of a server's own, as a package brings them, and a function that
// installs them once more.
func packaged(s *testServer, name string) (bin string, install func()) {
	s.t.Helper()
	bin = filepath.Join(s.dir, name)
	install = func() {
		s.t.Helper()
		s.run("cp", "-a", s.bin, bin+".new")
		s.run("sh", "-c", `mkdir -p "$1" && mv -f "$1.new"/* "$1" && rmdir "$1.new"`, "sh", bin)
	}
	install()
	return bin, install
}

// TestAMinorVersionIsTakenUp: the programs are replaced, those of the standby first. Its
// replica goes on by the new ones, and the active's log and its base go on.
func TestAMinorVersionIsTakenUp(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	base := p.v.Prev.Entry
	bin, install := packaged(p.b, "programs")
	p.to = p.b.source(func(c *Config) { c.BinDir = bin })
	data := sourcetest.Held(t, p.to.Staged())
	runs := func() int {
		pid, err := runningIn(data)
		sourcetest.Must(t, err)
		return pid
	}
	p.follow(t)
	p.a.sql("INSERT INTO ledger VALUES (1)")
	p.log.reaches(p.a)
	eventually(t, func() bool { return runs() != 0 })
	before := runs()
	p.a.sql("INSERT INTO ledger VALUES (2)")
	p.log.reaches(p.a)
	if after := runs(); after != before {
		t.Errorf("process %d, and then %d, and nothing was installed", before, after)
	}
	install()
	p.a.sql("INSERT INTO ledger VALUES (3)")
	has := func(want string) {
		t.Helper()
		eventually(t, func() bool {
			got, err := askReplica(t, p.to, "SELECT count(*) FROM ledger")
			return err == nil && got == want
		})
	}
	eventually(t, func() bool { return runs() != before })
	has("3")

	p.a.stop()
	<-p.log.ended
	p.log.close()
	p.a.bin, _ = packaged(p.a, "programs")
	p.a.start()
	p.follow(t)
	p.a.sql("INSERT INTO ledger VALUES (4)")
	has("4")
	if e, _ := p.v.Backup(t, p.from); !e.Root.Equal(base.Root) || len(e.Warnings) > 0 {
		t.Errorf("same base %t, warnings %q", e.Root.Equal(base.Root), e.Warnings)
	}
}

// TestAnotherServerIsAGap: pg_upgrade makes one, and so does initdb. A new stream begins with
// its log, and goes on.
func TestAnotherServerIsAGap(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	src := s.source(nil)
	log := ship(t, src, nil, nil)
	s.sql("CREATE TABLE t AS SELECT generate_series(1, 1000)")
	to := log.reaches(s)
	sourcetest.Must(t, log.log.Confirm(to))
	log.close()
	s.stop()
	s.run("mv", s.data, s.data+".before")
	s.initdb(s.data)
	s.start()
	_, err := src.OpenLog(t.Context(), &to)
	sourcetest.MustFail(t, err, "the server is another one: its system identifier is "+s.ask("SELECT system_identifier FROM pg_control_system()"))
	if !errors.Is(err, source.ErrGap) {
		t.Errorf("error %v", err)
	}
	log = ship(t, src, nil, nil)
	s.sql("CREATE TABLE t AS SELECT generate_series(1, 1000)")
	to = log.reaches(s)
	sourcetest.Must(t, log.log.Confirm(to))
	log.close()
	ship(t, src, &to, nil)
}

package postgrescluster

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/polite"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/stream"
)

// TestAFormerActiveFollowsAsItIs after a switchover, and is promoted again: its stage is a
// copy of its own data folder.
func TestAFormerActiveFollowsAsItIs(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.follow(t)
	p.a.sql("INSERT INTO ledger SELECT generate_series(1, 1000)", "CREATE UNLOGGED TABLE u AS SELECT 1", "CREATE DATABASE more")
	final := p.switchover(t)
	p.b.sql("INSERT INTO ledger SELECT generate_series(1001, 2000)")

	t.Cleanup(func() { sourcetest.Must(t, p.from.SwapBack(t.Context())) })
	var x source.Examination
	sourcetest.Must(t, p.from.Rejoin(source.WithExamination(t.Context(), &x), final, p.log.at()))
	if len(x.Unchecked) != 1 || !strings.Contains(x.Unchecked[0], "compared with no backup") {
		t.Errorf("it says of what it has not looked at: %q", x.Unchecked)
	}
	if print, err := p.from.Fingerprint(t.Context()); err != nil || print == "" || strings.Contains(print, "written to") {
		t.Errorf("fingerprint %q, %v", print, err)
	}
	if at, ok, err := p.from.Followed(t.Context(), nil); err != nil || !ok || at > p.log.at() {
		t.Errorf("it follows from %v, %t: %v", at, ok, err)
	}
	if old, _ := filepath.Glob(filepath.Join(p.from.Staged(), "pg_replslot", "*")); len(old) > 0 {
		t.Errorf("it has the slots of an active: %q", old)
	}
	var next *shipping
	open := make(chan struct{})
	next = ship(t, p.to, nil, func(from stream.Position, log []byte) {
		<-open
		feeding(t, p.from, func() *shipping { return next })(from, log)
	})
	close(open)
	next.reaches(p.b)
	eventually(t, func() bool {
		got, err := askReplica(t, p.from, "SELECT count(*) FROM ledger")
		return err == nil && got == "2000"
	})
	again := source.Examination{Before: &x.Findings}
	second, _ := p.v.Backup(t, p.to)
	eventually(t, func() bool {
		at, ok, err := p.from.Followed(t.Context(), nil)
		return err == nil && ok && at >= stream.Position(factsIn(t, second).From)
	})
	sourcetest.Must(t, p.from.Advance(source.WithExamination(polite.Context(t.Context()), &again), p.v.Reader(), final, second))
	if !slices.Equal(again.Unchecked, x.Unchecked) {
		t.Errorf("brought forward, it says %q", again.Unchecked)
	}
	if is, err := controlOf(p.from); err != nil || is.State != stateShutDown {
		t.Errorf("its own folder has changed: state %d, %v", is.State, err)
	}

	sourcetest.Must(t, p.to.Stop(t.Context()))
	<-next.ended
	sourcetest.Must(t, p.from.CatchUp(t.Context(), next.at()))
	sourcetest.Must(t, p.from.Swap(t.Context()))
	sourcetest.Must(t, p.from.Start(t.Context(), 3))
	sourcetest.Must(t, p.from.Discard(t.Context()))
	if got := p.a.ask("SELECT count(*) FROM ledger"); got != "2000" {
		t.Errorf("%s rows", got)
	}
	if got := p.a.timeline(); got != "00000003" {
		t.Errorf("timeline %s", got)
	}
}

// switchover stops the active in order, has the replica take its place, and returns what the
// last backup of the former active says.
func (p *pair) switchover(t *testing.T) source.Entry {
	t.Helper()
	p.log.reaches(p.a)
	sourcetest.Must(t, p.from.Stop(t.Context()))
	<-p.log.ended
	final, _ := p.v.Backup(t, p.from)
	sourcetest.Must(t, p.to.CatchUp(t.Context(), p.log.at()))
	sourcetest.Must(t, p.to.Swap(t.Context()))
	sourcetest.Must(t, p.to.Start(t.Context(), 2))
	sourcetest.Must(t, p.to.Discard(t.Context()))
	return final
}

func controlOf(src *Source) (is control, err error) {
	err = src.process.within(func(at fsx.Place, data *fsx.Dir) error {
		is, err = readControl(data)
		return err
	})
	return is, err
}

// TestWhatDoesNotFollowAsItIsSaysWhy, and leaves no stage.
func TestWhatDoesNotFollowAsItIsSaysWhy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, a *testServer, e *source.Entry, end *stream.Position)
		want   string
	}{
		"it was killed": {func(_ *testing.T, a *testServer, _ *source.Entry, _ *stream.Position) {
			a.start()
			a.kill()
		}, "was not stopped in order"},
		"it runs": {func(_ *testing.T, a *testServer, _ *source.Entry, _ *stream.Position) { a.start() }, "a server runs in"},
		"it has written since": {func(_ *testing.T, a *testServer, _ *source.Entry, _ *stream.Position) {
			a.start()
			a.sql("INSERT INTO ledger VALUES (-1)")
			a.stop()
		}, "its successor's does from"},
		"the backup is newer": {func(t *testing.T, a *testServer, e *source.Entry, end *stream.Position) {
			older := a.data + ".older"
			run(t, "cp", "-a", a.data, older)
			a.start()
			a.sql("INSERT INTO ledger VALUES (-1)")
			a.stop()
			v := sourcetest.NewVault(t)
			a.start()
			*e, _ = v.Backup(t, a.source(nil))
			a.stop()
			*end = 1 << 40
			run(t, "rm", "-r", a.data)
			run(t, "mv", older, a.data)
		}, "and that of the backup at"},
		"other log": {func(t *testing.T, a *testServer, e *source.Entry, end *stream.Position) {
			older := a.data + ".older"
			run(t, "cp", "-a", a.data, older)
			a.start()
			v := sourcetest.NewVault(t)
			v.Backup(t, a.source(nil))
			a.sql("INSERT INTO ledger VALUES (-1)")
			a.stop()
			*e, _ = v.Backup(t, a.source(nil))
			*end = 1 << 40
			run(t, "rm", "-r", a.data)
			run(t, "mv", older, a.data)
			a.start()
			for range 3 {
				a.sql("INSERT INTO ledger SELECT generate_series(10001, 20000)", "SELECT pg_switch_wal()")
			}
			a.stop()
		}, "has another log than it had"},
		"another server's": {func(t *testing.T, _ *testServer, e *source.Entry, _ *stream.Position) {
			f := factsIn(t, *e)
			f.System++
			var err error
			e.Facts, err = json.Marshal(f)
			sourcetest.Must(t, err)
		}, "the backup is of server"},
		"nothing is there": {func(t *testing.T, a *testServer, _ *source.Entry, _ *stream.Position) {
			run(t, "rm", "-r", a.data)
		}, "no such file"},
		"a tablespace outside": {func(t *testing.T, a *testServer, _ *source.Entry, _ *stream.Position) {
			sourcetest.Must(t, os.Symlink("/elsewhere", filepath.Join(a.data, "pg_tblspc", "16999")))
		}, "a tablespace outside"},
	} {
		t.Run(name, func(t *testing.T) {
			a, v := newTestServer(t), sourcetest.NewVault(t)
			src := a.source(nil)
			sourcetest.Must(t, src.Start(t.Context(), 1))
			a.sql("CREATE TABLE ledger (n int)")
			v.Backup(t, src)
			a.stop()
			e, _ := v.Backup(t, src)
			end := stream.Position(factsIn(t, e).To)
			c.change(t, a, &e, &end)
			err := src.Rejoin(t.Context(), e, end)
			if !errors.Is(err, source.ErrNoRejoin) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if _, ok, err := src.Followed(t.Context(), nil); err != nil || ok {
				t.Errorf("a stage is there: %t, %v", ok, err)
			}
		})
	}
}

func run(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
}

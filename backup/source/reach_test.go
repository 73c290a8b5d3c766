package source

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
)

// reached is a source of one kind, with the text that is its state.
type reached struct {
	src   Source
	write func(text string)
	read  func(path string) string // "": the live state
	fault *func(step string) error // of its swap
}

// reachedKinds makes a source of every kind whose state is files.
var reachedKinds = map[string]func(t *testing.T) reached{
	"directory":   func(t *testing.T) reached { return reachedDirectory(t, filepath.Join(t.TempDir(), "files")) },
	"mount point": reachedMount,
	"file": func(t *testing.T) reached {
		path := filepath.Join(t.TempDir(), "app.conf")
		src := newFileSource(t, path)
		return reachedFile(t, src, path, &src.fault)
	},
	"sqlite": func(t *testing.T) reached {
		path := filepath.Join(t.TempDir(), "app.db")
		src := newSQLite(t, path)
		r := reachedFile(t, src, path, &src.fault)
		r.write = func(text string) {
			must(t, os.RemoveAll(path))
			db := newBank(t, path, "delete", len(text))
			must(t, db.Close())
		}
		r.read = func(at string) string {
			if at == "" {
				at = path
			}
			db := openBank(t, at, "delete")
			defer db.Close()
			return strings.Repeat("x", transfers(t, db))
		}
		return r
	},
	"command": func(t *testing.T) reached {
		dir := t.TempDir()
		path := filepath.Join(dir, "state")
		src := newFileCommand(t, path, filepath.Join(dir, "scratch"))
		return reachedFile(t, src, path, &src.fault)
	},
}

func reachedFile(t *testing.T, src Source, path string, fault *func(string) error) reached {
	return reached{
		src: src, fault: fault,
		write: func(text string) { must(t, os.WriteFile(path, []byte(text), 0o600)) },
		read: func(at string) string {
			if at == "" {
				at = path
			}
			return readText(t, at)
		},
	}
}

func reachedDirectory(t *testing.T, path string) reached {
	src := newTestDirectory(t, path)
	return reached{
		src: src, fault: &src.swapFault,
		write: func(text string) {
			must(t, os.MkdirAll(path, 0o755))
			must(t, os.WriteFile(filepath.Join(path, "what"), []byte(text), 0o600))
		},
		read: func(at string) string {
			if at == "" {
				at = path
			}
			return readText(t, filepath.Join(at, "what"))
		},
	}
}

func reachedMount(t *testing.T) reached {
	d := mount(t)
	r := reachedDirectory(t, d.cfg.Path)
	r.src, r.fault = d, &d.swapFault
	return r
}

// How far a swap has come is told by what lies there: one that is cut off anywhere
// is known to be, can go back, and where it is whole, what it replaced can be kept.
func TestHowFarASwapHasComeIsSeen(t *testing.T) {
	for kind, make := range reachedKinds {
		t.Run(kind, func(t *testing.T) {
			var seen [ReachPlaced + 1]int
			for n, done := 0, false; !done; n++ {
				for _, keep := range []bool{false, true} {
					var reach Reach
					reach, done = reachStopped(t, make(t), n, keep)
					seen[reach]++
				}
				if t.Failed() {
					t.Fatalf("stopped at step %d", n)
				}
			}
			if seen[ReachPlaced] == 0 || seen[ReachBegun] == 0 {
				t.Errorf("reaches seen: %v", seen)
			}
		})
	}
}

// reachStopped stops a swap before, or after, its nth step and ends it.
func reachStopped(t *testing.T, r reached, n int, keep bool) (reach Reach, done bool) {
	t.Helper()
	s, ctx := newShelf(t), t.Context()
	r.write("new")
	e, _ := s.backup(t, r.src)
	r.write("what was before")
	old, again := r.read(""), e
	if reach, err := r.src.Reach(ctx); err != nil || reach != ReachNone {
		t.Errorf("before anything is staged: %v, %v", reach, err)
	}
	s.stage(t, r.src, e)
	if reach, err := r.src.Reach(ctx); err != nil || reach != ReachStaged {
		t.Errorf("staged: %v, %v", reach, err)
	}
	steps := 0
	*r.fault = func(string) error {
		if steps++; steps > n {
			return errStop
		}
		return nil
	}
	err := r.src.Swap(ctx)
	*r.fault = noFault
	if err != nil && !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	done = err == nil
	reach, err = r.src.Reach(ctx)
	if err != nil || done && reach != ReachPlaced || !done && reach == ReachNone {
		t.Errorf("stopped: %v, %v", reach, err)
	}
	if reach == ReachPlaced && keep {
		reachKept(t, r, old)
	} else {
		must(t, r.src.SwapBack(ctx))
		if text := r.read(""); text != old {
			t.Errorf("swapped back, it holds %q", text)
		}
	}
	mustSweep(t, r.src.(Sweeper))
	if after, err := r.src.Reach(ctx); err != nil || after != ReachNone {
		t.Errorf("in the end: %v, %v", after, err)
	}
	s.stage(t, r.src, again)
	return reach, done
}

// reachKept ends a swap that is whole, keeping what it replaced, twice.
func reachKept(t *testing.T, r reached, old string) {
	t.Helper()
	ctx := t.Context()
	must(t, r.src.Swap(ctx))
	kept, err := r.src.Keep(ctx)
	must(t, err)
	if again, err := r.src.Keep(ctx); again != "" || err != nil {
		t.Errorf("kept again: %q, %v", again, err)
	}
	must(t, r.src.Discard(ctx))
	mustSweep(t, r.src.(Sweeper))
	if text := r.read(""); text == old {
		t.Errorf("the new state is gone: %q", text)
	}
	if text := r.read(kept); text != old {
		t.Errorf("kept in %s: %q", kept, text)
	}
}

// A swap that replaced nothing has nothing to keep.
func TestNothingIsKeptOfWhatWasNotThere(t *testing.T) {
	for kind, make := range reachedKinds {
		if kind == "mount point" || kind == "command" {
			continue // there is always something
		}
		t.Run(kind, func(t *testing.T) {
			r, s := make(t), newShelf(t)
			r.write("new")
			e, _ := s.backup(t, r.src)
			places, err := r.src.(Openable).Live()
			must(t, err)
			for _, p := range places {
				must(t, os.RemoveAll(p.Path))
			}
			s.stage(t, r.src, e)
			must(t, r.src.Swap(t.Context()))
			if reach, err := r.src.Reach(t.Context()); err != nil || reach != ReachPlaced {
				t.Errorf("reach %v, %v", reach, err)
			}
			if kept, err := r.src.Keep(t.Context()); err != nil || kept != "" {
				t.Errorf("kept %q, %v", kept, err)
			}
			must(t, r.src.Discard(t.Context()))
			mustSweep(t, r.src.(Sweeper))
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(places[0].Path), ".*understudy*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// A PostgreSQL database likewise: what it replaced is kept closed to connections.
func TestHowFarASwapOfADatabaseHasComeIsSeen(t *testing.T) {
	srv := server.Postgres(t)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE a_stage")
	seen := map[Reach]bool{}
	for n, more := 1, true; more; n++ {
		var reach Reach
		reach, more = reachDatabase(t, srv, n)
		seen[reach] = true
	}
	if !seen[ReachStaged] || !seen[ReachPlaced] {
		t.Errorf("reaches seen: %v", seen)
	}
}

func reachDatabase(t *testing.T, srv *server.PostgresServer, n int) (reach Reach, more bool) {
	t.Helper()
	name := fmt.Sprint("reach_", n)
	p := newPostgresAt(t, srv, name)
	sqlIn(t, srv.DSN("postgres"), "CREATE DATABASE "+name, "CREATE DATABASE "+p.Staged()+" TEMPLATE a_stage")
	sqlIn(t, srv.DSN(name), "CREATE TABLE before ()")
	leaveStaged(t, p, &globals{})
	if reach, err := p.Reach(t.Context()); err != nil || reach != ReachStaged {
		t.Errorf("staged: %v, %v", reach, err)
	}
	fault, stopped := stopAfter(n)
	p.fault = fault
	err := p.Swap(t.Context())
	if stopped() != (err != nil) {
		t.Fatal(err)
	}
	p.fault = noFault
	reach, err = p.Reach(t.Context())
	must(t, err)
	count := func(database string) int {
		return len(ask(t, srv.DSN(database), "SELECT relname FROM pg_class WHERE relname = 'before'"))
	}
	if reach != ReachPlaced {
		must(t, p.SwapBack(t.Context()))
		if count(name) != 1 {
			t.Errorf("stop %d: the old database did not come back", n)
		}
	} else {
		must(t, p.Swap(t.Context()))
		kept, err := p.Keep(t.Context())
		must(t, err)
		must(t, p.Discard(t.Context()))
		if kept != "database "+name+"_understudy_kept_1" || count(name) != 0 {
			t.Errorf("stop %d: kept %q", n, kept)
		}
		sqlIn(t, srv.DSN("postgres"), openTo(strings.TrimPrefix(kept, "database ")))
		if count(strings.TrimPrefix(kept, "database ")) != 1 {
			t.Errorf("stop %d: what was replaced is not what is kept", n)
		}
	}
	mustSweep(t, p)
	if after, err := p.Reach(t.Context()); err != nil || after != ReachNone {
		t.Errorf("stop %d: in the end: %v, %v", n, after, err)
	}
	return reach, stopped()
}

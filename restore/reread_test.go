package restore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// restaged is a stage of an app's backup.
type restaged struct {
	*Swapper
	app app
	m   *backup.Manifest
	r   *pack.Reader
}

func newRestaged(t *testing.T, files int) *restaged {
	t.Helper()
	cl := newCluster(t)
	active, standby := newApp(t), newApp(t)
	active.set(t, "new")
	for i := range files {
		if err := os.WriteFile(filepath.Join(active.dir, fmt.Sprintf("more-%d", i)), noise(byte(i), 10_000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	standby.set(t, "old")
	return stageAgain(t, cl, cl.writeApp(t, active), standby)
}

func stageAgain(t *testing.T, cl *cluster, ref backup.Ref, standby app) *restaged {
	t.Helper()
	m, err := cl.repo.Load(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := cl.repo.Open(t.Context(), m, cl.repo.BucketPacks())
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSwapper(t.TempDir(), standby.sources(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stage(t.Context(), r, m, nil); err != nil {
		t.Fatal(err)
	}
	return &restaged{s, standby, m, r}
}

// restart is what a new process has.
func (s *restaged) restart(t *testing.T) {
	t.Helper()
	again, err := NewSwapper(s.journal.dir, s.app.sources(t))
	if err != nil {
		t.Fatal(err)
	}
	s.Swapper = again
}

func (s *restaged) staged(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".understudy-staged")
}

// rotDatabase changes a byte of the staged database, as a bad disk does.
func (s *restaged) rotDatabase(t *testing.T) {
	t.Helper()
	s.rotFile(t, s.staged(s.app.db), "sqlite")
}

// rotFile is rotDatabase for any stage that is one file.
func (s *restaged) rotFile(t *testing.T, path, kind string) {
	t.Helper()
	sourcetest.Flip(t, path)
	j, err := s.journal.read()
	if err != nil {
		t.Fatal(err)
	}
	for _, src := range s.set.all {
		if src.Kind() != kind {
			continue
		}
		print, err := src.Fingerprint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		j.setStage(src, j.stageOf(src).Entry, print)
	}
	if err := s.journal.write(&j, Staged); err != nil {
		t.Fatal(err)
	}
}

// round reads until the round ends, with a restart after each call, and has what
// is bad distrusted.
func (s *restaged) round(t *testing.T, budget int64) (calls int, found []Rotten) {
	t.Helper()
	for calls = 1; calls < 1000; calls++ {
		read, bad, err := s.Reread(t.Context(), s.r, s.m, budget, newCluster(t).now)
		if err != nil || read == 0 {
			t.Fatalf("read %d: %v", read, err)
		}
		if bad != nil {
			if is, err := s.Distrust(t.Context(), s.r, s.m, *bad); !is || err != nil {
				t.Fatalf("%s: %v, %v", bad, is, err)
			}
			found = append(found, *bad)
			if bad.At.Path == "" {
				return calls, found // its stage is gone
			}
		}
		state, err := s.Rereads()
		if err != nil {
			t.Fatal(err)
		}
		if state.Last != nil {
			return calls, found
		}
		s.restart(t)
	}
	t.Fatal("the round has no end")
	return calls, found
}

// TestWhatRotsInAStageIsFoundAndRestoredAgain changes bytes of staged files, a
// file's and a database's, which nothing but their content shows.
func TestWhatRotsInAStageIsFoundAndRestoredAgain(t *testing.T) {
	for name, rot := range map[string]func(*testing.T, *restaged){
		"a file":     func(t *testing.T, s *restaged) { sourcetest.Rot(t, s.staged(s.app.dir), "file") },
		"a database": func(t *testing.T, s *restaged) { s.rotDatabase(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newRestaged(t, 3)
			rot(t, s)
			if ready, err := s.Ready(t.Context(), s.m); !ready || err != nil {
				t.Fatalf("the damage shows otherwise: %v, %v", ready, err)
			}
			if _, found := s.round(t, 1<<20); len(found) != 1 {
				t.Fatalf("found %v", found)
			}
			if ready, err := s.Ready(t.Context(), s.m); ready || err != nil {
				t.Errorf("ready though damaged: %v, %v", ready, err)
			}
			if err := errors.Join(s.Stage(t.Context(), s.r, s.m, nil), s.Swap(t.Context())); err != nil {
				t.Fatal(err)
			}
			s.app.mustBe(t, "new")
		})
	}
}

// TestTheStageIsReadInRotation: each call reads a part, the next process goes on
// where the last one stopped, and nothing is waited for.
func TestTheStageIsReadInRotation(t *testing.T) {
	const files = 20
	s := newRestaged(t, files)
	calls, found := s.round(t, 1)
	if calls < files || len(found) > 0 {
		t.Errorf("%d calls found %v", calls, found)
	}
	state, err := s.Rereads()
	if err != nil || state.Last.Files != files+2 || state.Last.Bytes < files*10_000 {
		t.Errorf("%+v, %v", state.Last, err)
	}
	s.mu.Lock() // as a promotion does
	read, _, err := s.Reread(t.Context(), s.r, s.m, 1<<20, s.m.Time)
	s.mu.Unlock()
	if read != 0 || err != nil {
		t.Errorf("beside other work it read %d: %v", read, err)
	}
	if err := s.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state, err := s.Rereads(); state.Last != nil || err != nil {
		t.Errorf("of a stage that is gone: %+v, %v", state, err)
	}
}

// singles makes an application of single files: a file, and what commands print
// and read.
func singles(t *testing.T, content string) app {
	t.Helper()
	dir := t.TempDir()
	a := app{single: filepath.Join(dir, "settings"), printed: filepath.Join(dir, "printed"), scratch: filepath.Join(dir, "scratch")}
	for _, path := range []string{a.single, a.printed} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// TestSingleFilesOfAStageAreReadAndCompared: the stage of a file, and of what a
// command prints, is read in rotation as that of a directory is, and somebody who
// writes to it is told of.
func TestSingleFilesOfAStageAreReadAndCompared(t *testing.T) {
	cl := newCluster(t)
	text := string(noise(1, 200_000))
	ref := cl.writeApp(t, singles(t, text))
	for kind, path := range map[string]func(s *restaged) string{
		"file":    func(s *restaged) string { return s.staged(s.app.single) },
		"command": func(s *restaged) string { return filepath.Join(s.app.scratch, "staged") },
	} {
		t.Run(kind, func(t *testing.T) {
			s := stageAgain(t, cl, ref, singles(t, "old"))
			if !s.Rereadable() {
				t.Fatal("nothing of it can be read")
			}
			if calls, found := s.round(t, 50_000); len(found) > 0 || calls < 4 {
				t.Fatalf("%d calls, found %v", calls, found)
			}
			if state, err := s.Rereads(); err != nil || state.Last.Files != 2 || state.Last.Bytes != 400_000 {
				t.Errorf("%+v, %v", state.Last, err)
			}
			s.rotFile(t, path(s), kind)
			if ready, err := s.Ready(t.Context(), s.m); !ready || err != nil || s.Inspected().Entries != 2 {
				t.Fatalf("the damage shows otherwise: %v, %v, %+v", ready, err, s.Inspected())
			}
			if err := s.journal.forgetReread(); err != nil {
				t.Fatal(err)
			}
			if _, found := s.round(t, 1<<20); len(found) != 1 || !strings.HasPrefix(found[0].String(), "what is staged of "+kind+", from byte ") {
				t.Fatalf("found %v", found)
			}
			if ready, err := s.Ready(t.Context(), s.m); ready || err != nil {
				t.Errorf("ready though damaged: %v, %v", ready, err)
			}
			if err := s.Stage(t.Context(), s.r, s.m, nil); err != nil {
				t.Fatal(err)
			}
			// Somebody writes to it.
			if err := os.WriteFile(path(s), []byte("nonsense"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.Stage(t.Context(), s.r, s.m, nil); err != nil {
				t.Fatal(err)
			}
			if found := s.Inspected(); found.Damaged != 1 || found.Entries != 1 || found.First != "that of "+kind {
				t.Errorf("compared: %+v", found)
			}
			if err := s.Swap(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{s.app.single, s.app.printed} {
				if got, err := os.ReadFile(path); err != nil || string(got) != text {
					t.Errorf("%s holds %d bytes, %v", path, len(got), err)
				}
			}
		})
	}
}

package source

import (
	"errors"
	"github.com/understudy-ha/understudy/backup/fsx"
	"golang.org/x/sys/unix"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
) // scene is a target with a stage beside it, whose operations can be stopped.
type scene struct {
	t      *testing.T
	target string
	slow   bool // names cannot be exchanged at once
}

var errStop = errors.New("stopped here") // at gives the exchange of a new process, which stops before its nth step.
func (s *scene) at(n int) (x *exchange, steps *int) {
	x, steps = newExchange(placed(s.t, s.target)), new(int)
	if s.slow {
		x.switchNames = func(string, string) error { return unix.EINVAL }
	}
	x.fault = func(string) error {
		if *steps++; *steps > n {
			return errStop
		}
		return nil
	}
	return x, steps
}

const endless = 1 << 30

func (s *scene) whole() *exchange { x, _ := s.at(endless); return x } // holds gives the content of the folder at path; "" for none.
func (s *scene) holds(path string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(path, "what"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			s.t.Errorf("%s is there, but empty", path)
		}
		return ""
	}
	do(s.t, err)
	return string(data)
}
func fill(what string) func(string) error {
	return func(dir string) error {
		return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "what"), []byte(what), 0o644))
	}
}

// filled is fill for a folder that was made.
func filled(what string) func(*fsx.Dir) error {
	return func(made *fsx.Dir) error {
		return made.Write("what", func(f *os.File) error {
			_, err := f.WriteString(what)
			return err
		})
	}
}

// placed is where a path leads, held until the test's end.
func placed(t testing.TB, path string) fsx.Place {
	t.Helper()
	p, err := fsx.Resolve(path)
	do(t, err)
	t.Cleanup(p.Close)
	return p
}

// held is a folder that is held until the test's end.
func held(t testing.TB, path string) *fsx.Dir {
	t.Helper()
	d, err := fsx.Open(path)
	do(t, err)
	t.Cleanup(d.Close)
	return d
}

// expect checks what each folder holds, and that nothing else is left.
func (s *scene) expect(target, staged, replaced string) {
	s.t.Helper()
	x := s.whole()
	got := [3]string{s.holds(x.target), s.holds(x.path(x.staged)), s.holds(x.path(x.replaced))}
	if want := [3]string{target, staged, replaced}; got != want {
		s.t.Errorf("target, staged, replaced hold %q, want %q", got, want)
	}
	for _, p := range []string{x.staging, x.aside} {
		if s.holds(x.path(p)) != "" {
			s.t.Errorf("%s is left", p)
		}
	}
}

// atEach runs op stopped at each of its steps, in a fresh scene that before has
// prepared, and then check, which is a new process.
func atEach(t *testing.T, before func(*scene), op func(*exchange) error, check func(s *scene, old string)) {
	t.Helper()
	for _, old := range []string{"old", ""} {
		for _, slow := range []bool{false, true} {
			for n := 0; ; n++ {
				s := &scene{t: t, target: filepath.Join(t.TempDir(), "target"), slow: slow}
				if old != "" {
					do(t, fill(old)(s.target))
				}
				before(s)
				x, steps := s.at(n)
				err := op(x)
				if err != nil && !errors.Is(err, errStop) {
					t.Fatalf("stopped after %d steps: %v", n, err)
				}
				check(s, old)
				if t.Failed() {
					t.Fatalf("old %q, slow %v, stopped after %d steps", old, slow, n)
				}
				if err == nil {
					if n != *steps || n == 0 {
						t.Fatalf("%d steps, %d of them run", n, *steps)
					}
					break
				}
			}
		}
	}
}

func staged(s *scene) { do(s.t, s.whole().stage(s.t.Context(), filled("new"))) }

func swapped(s *scene) {
	staged(s)
	do(s.t, s.whole().swap())
}

func TestSwapStoppedAnywhereGoesOn(t *testing.T) {
	atEach(t, staged, (*exchange).swap, func(s *scene, old string) {
		do(t, s.whole().swap())
		s.expect("new", "", old)
		do(t, s.whole().swap())
		s.expect("new", "", old)
		do(t, s.whole().discard())
		s.expect("new", "", "")
	})
}

func TestSwapStoppedAnywhereGoesBack(t *testing.T) {
	atEach(t, staged, (*exchange).swap, func(s *scene, old string) {
		do(t, s.whole().swapBack())
		s.expect(old, "", "")
		do(t, s.whole().swapBack())
		s.expect(old, "", "")
	})
}

func TestSwapStoppedAnywhereLeavesTheTargetWhole(t *testing.T) {
	atEach(t, staged, (*exchange).swap, func(s *scene, old string) {
		if now := s.holds(s.target); now != old && now != "new" && !s.slow {
			t.Errorf("the target holds %q", now)
		}
	})
}

func TestSwapBackStoppedAnywhereGoesOn(t *testing.T) {
	atEach(t, swapped, (*exchange).swapBack, func(s *scene, old string) {
		do(t, s.whole().swapBack())
		s.expect(old, "", "")
	})
}

func TestDiscardStoppedAnywhereGoesOn(t *testing.T) {
	atEach(t, swapped, (*exchange).discard, func(s *scene, old string) {
		do(t, s.whole().discard())
		s.expect("new", "", "")
		do(t, s.whole().swapBack()) // too late, and harmless
		s.expect("new", "", "")
	})
}

func TestSwapBackStoppedTwiceGoesOn(t *testing.T) {
	for first := range 8 {
		atEach(t, func(s *scene) {
			staged(s)
			x, _ := s.at(first)
			_ = x.swap() // it may be stopped
		}, (*exchange).swapBack, func(s *scene, old string) {
			do(t, s.whole().swapBack())
			s.expect(old, "", "")
		})
	}
}

func TestStageStoppedAnywhereIsNoStage(t *testing.T) {
	atEach(t, func(s *scene) { do(t, s.whole().stage(s.t.Context(), filled("older"))) }, func(x *exchange) error {
		return x.stage(t.Context(), func(made *fsx.Dir) error {
			if err := x.fault("build"); err != nil {
				return err
			}
			return filled("new")(made)
		})
	}, func(s *scene, old string) {
		if got := s.holds(besides(s.target, "staged")); got != "" && got != "older" && got != "new" {
			t.Errorf("the stage holds %q", got)
		}
		do(t, s.whole().stage(s.t.Context(), filled("newest")))
		s.expect(old, "newest", "")
	})
}

func TestStageAgainReplacesTheStage(t *testing.T) {
	s := &scene{t: t, target: filepath.Join(t.TempDir(), "target")}
	do(t, fill("old")(s.target))
	staged(s)
	do(t, s.whole().stage(s.t.Context(), filled("newer")))
	s.expect("old", "newer", "")
	do(t, s.whole().swapBack())
	s.expect("old", "", "")
}

func TestStageIsRefusedWhileASwapIsPending(t *testing.T) {
	s := &scene{t: t, target: filepath.Join(t.TempDir(), "target")}
	do(t, fill("old")(s.target))
	swapped(s)
	if err := s.whole().stage(s.t.Context(), filled("newer")); !errors.Is(err, ErrUnfinished) {
		t.Errorf("the error is %v", err)
	}
	s.expect("new", "", "old")
}

func TestSwapOfNothingIsRefused(t *testing.T) {
	s := &scene{t: t, target: filepath.Join(t.TempDir(), "target")}
	do(t, fill("old")(s.target))
	if err := s.whole().swap(); err == nil || !strings.Contains(err.Error(), "nothing is staged") {
		t.Errorf("the error is %v", err)
	}
	s.expect("old", "", "")
}

func TestSwapNoticesThatTheStageIsGone(t *testing.T) {
	s := &scene{t: t, target: filepath.Join(t.TempDir(), "target")}
	do(t, fill("old")(s.target))
	staged(s)
	x, _ := s.at(2) // the marker is written
	if err := x.swap(); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	do(t, os.RemoveAll(x.path(x.staged)))
	if err := s.whole().swap(); err == nil || !strings.Contains(err.Error(), "neither at") {
		t.Errorf("the error is %v", err)
	}
	s.expect("old", "", "")
	do(t, s.whole().swapBack())
	s.expect("old", "", "")
}

func TestSwapBackSurvivesALostTarget(t *testing.T) {
	s := &scene{t: t, target: filepath.Join(t.TempDir(), "target")}
	do(t, fill("old")(s.target))
	swapped(s)
	do(t, os.RemoveAll(s.target))
	do(t, s.whole().swapBack())
	s.expect("old", "", "")
}

func TestCheckRefusesWhatCannotBeSwapped(t *testing.T) {
	dir := t.TempDir()
	do(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	for path, want := range map[string]string{
		"/":                                "root of a file system",
		"/dev":                             "mount point inside",
		filepath.Join(dir, "missing", "x"): "missing",
		filepath.Join(dir, "file"):         "not a directory",
		filepath.Join(dir, "none"):         "missing",
	} {
		err := newTestDirectory(t, path).Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("check of %s: %v; want %q in it", path, err, want)
		}
		if missing := errors.Is(err, fs.ErrNotExist); missing != strings.Contains(path, dir+"/none") && !strings.Contains(path, "missing") {
			t.Errorf("check of %s: %v", path, err)
		}
	}
	do(t, newTestDirectory(t, dir).Check(t.Context()))
}

package stage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// scene is a target with a stage beside it, whose operations can be stopped.
type scene struct {
	t      *testing.T
	target string
	slow   bool // names cannot be exchanged at once
}

var errStop = errors.New("stopped here")

// at gives the exchange of a new process, which stops before its nth step.
func (s *scene) at(n int) (x *renaming, steps *int) {
	x, steps = newRenaming(sourcetest.Placed(s.t, s.target)), new(int)
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

func (s *scene) whole() *renaming {
	x, _ := s.at(endless)
	return x
}

// holds gives the content of the folder at path; "" for none.
func (s *scene) holds(path string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(path, "what"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			s.t.Errorf("%s is there, but empty", path)
		}
		return ""
	}
	sourcetest.Must(s.t, err)
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

// expect checks what each folder holds, and that nothing else is left.
func (s *scene) expect(target, staged, replaced string) {
	s.t.Helper()
	x := s.whole()
	got := [3]string{s.holds(x.Target), s.holds(x.Path(x.Staged)), s.holds(x.Path(x.Replaced))}
	if want := [3]string{target, staged, replaced}; got != want {
		s.t.Errorf("target, staged, replaced hold %q, want %q", got, want)
	}
	for _, p := range []string{x.staging, x.aside} {
		if s.holds(x.Path(p)) != "" {
			s.t.Errorf("%s is left", p)
		}
	}
}

// atEach runs op stopped at each of its steps, in a fresh scene that before has
// prepared, and then check, which is a new process.
func atEach(t *testing.T, before func(*scene), op func(*renaming) error, check func(s *scene, old string)) {
	t.Helper()
	for _, old := range []string{"old", ""} {
		for _, slow := range []bool{false, true} {
			for n := 0; ; n++ {
				s := &scene{t: t, target: filepath.Join(t.TempDir(), "target"), slow: slow}
				if old != "" {
					sourcetest.Must(t, fill(old)(s.target))
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

func staged(s *scene) { sourcetest.Must(s.t, s.whole().Build(s.t.Context(), filled("new"))) }

func swapped(s *scene) {
	staged(s)
	sourcetest.Must(s.t, s.whole().Swap())
}

func TestSwapStoppedAnywhereGoesOn(t *testing.T) {
	atEach(t, staged, (*renaming).Swap, func(s *scene, old string) {
		sourcetest.Must(t, s.whole().Swap())
		s.expect("new", "", old)
		sourcetest.Must(t, s.whole().Swap())
		s.expect("new", "", old)
		sourcetest.Must(t, s.whole().Discard())
		s.expect("new", "", "")
	})
}

func TestSwapStoppedAnywhereGoesBack(t *testing.T) {
	atEach(t, staged, (*renaming).Swap, func(s *scene, old string) {
		sourcetest.Must(t, s.whole().SwapBack())
		s.expect(old, "", "")
		sourcetest.Must(t, s.whole().SwapBack())
		s.expect(old, "", "")
	})
}

func TestSwapStoppedAnywhereLeavesTheTargetWhole(t *testing.T) {
	atEach(t, staged, (*renaming).Swap, func(s *scene, old string) {
		if now := s.holds(s.target); now != old && now != "new" && !s.slow {
			t.Errorf("the target holds %q", now)
		}
	})
}

func TestSwapBackStoppedAnywhereGoesOn(t *testing.T) {
	atEach(t, swapped, (*renaming).SwapBack, func(s *scene, old string) {
		sourcetest.Must(t, s.whole().SwapBack())
		s.expect(old, "", "")
	})
}

func TestDiscardStoppedAnywhereGoesOn(t *testing.T) {
	atEach(t, swapped, (*renaming).Discard, func(s *scene, old string) {
		sourcetest.Must(t, s.whole().Discard())
		s.expect("new", "", "")
		sourcetest.Must(t, s.whole().SwapBack()) // too late, and harmless
		s.expect("new", "", "")
	})
}

func TestSwapBackStoppedTwiceGoesOn(t *testing.T) {
	for first := range 8 {
		atEach(t, func(s *scene) {
			staged(s)
			x, _ := s.at(first)
			_ = x.Swap() // it may be stopped
		}, (*renaming).SwapBack, func(s *scene, old string) {
			sourcetest.Must(t, s.whole().SwapBack())
			s.expect(old, "", "")
		})
	}
}

func TestStageStoppedAnywhereIsNoStage(t *testing.T) {
	atEach(t, func(s *scene) { sourcetest.Must(t, s.whole().Build(s.t.Context(), filled("older"))) }, func(x *renaming) error {
		return x.Build(t.Context(), func(made *fsx.Dir) error {
			if err := x.fault("build"); err != nil {
				return err
			}
			return filled("new")(made)
		})
	}, func(s *scene, old string) {
		if got := s.holds(swap.Besides(s.target, "staged")); got != "" && got != "older" && got != "new" {
			t.Errorf("the stage holds %q", got)
		}
		sourcetest.Must(t, s.whole().Build(s.t.Context(), filled("newest")))
		s.expect(old, "newest", "")
	})
}

func TestStageAgainReplacesTheStage(t *testing.T) {
	s := &scene{t: t, target: filepath.Join(t.TempDir(), "target")}
	sourcetest.Must(t, fill("old")(s.target))
	staged(s)
	sourcetest.Must(t, s.whole().Build(s.t.Context(), filled("newer")))
	s.expect("old", "newer", "")
	sourcetest.Must(t, s.whole().SwapBack())
	s.expect("old", "", "")
}

func TestStageIsRefusedWhileASwapIsPending(t *testing.T) {
	s := &scene{t: t, target: filepath.Join(t.TempDir(), "target")}
	sourcetest.Must(t, fill("old")(s.target))
	swapped(s)
	if err := s.whole().Build(s.t.Context(), filled("newer")); !errors.Is(err, source.ErrUnfinished) {
		t.Errorf("the error is %v", err)
	}
	s.expect("new", "", "old")
}

func TestSwapOfNothingIsRefused(t *testing.T) {
	s := &scene{t: t, target: filepath.Join(t.TempDir(), "target")}
	sourcetest.Must(t, fill("old")(s.target))
	if err := s.whole().Swap(); err == nil || !strings.Contains(err.Error(), "nothing is staged") {
		t.Errorf("the error is %v", err)
	}
	s.expect("old", "", "")
}

func TestSwapNoticesThatTheStageIsGone(t *testing.T) {
	s := &scene{t: t, target: filepath.Join(t.TempDir(), "target")}
	sourcetest.Must(t, fill("old")(s.target))
	staged(s)
	x, _ := s.at(2) // the marker is written
	if err := x.Swap(); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	sourcetest.Must(t, os.RemoveAll(x.Path(x.Staged)))
	if err := s.whole().Swap(); err == nil || !strings.Contains(err.Error(), "neither at") {
		t.Errorf("the error is %v", err)
	}
	s.expect("old", "", "")
	sourcetest.Must(t, s.whole().SwapBack())
	s.expect("old", "", "")
}

func TestSwapBackSurvivesALostTarget(t *testing.T) {
	s := &scene{t: t, target: filepath.Join(t.TempDir(), "target")}
	sourcetest.Must(t, fill("old")(s.target))
	swapped(s)
	sourcetest.Must(t, os.RemoveAll(s.target))
	sourcetest.Must(t, s.whole().SwapBack())
	s.expect("old", "", "")
}

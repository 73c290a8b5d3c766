package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// oldBanks are states in which a swap may find the target. Each makes one and
// gives the number of its transfers; -1 for no database.
var oldBanks = map[string]func(t *testing.T, path string) int{
	"missing": func(*testing.T, string) int { return -1 },
	"clean": func(t *testing.T, path string) int {
		sourcetest.Must(t, sourcetest.NewBank(t, path, "delete", 10).Close())
		return 10
	},
	"with a WAL": func(t *testing.T, path string) int {
		elsewhere := filepath.Join(t.TempDir(), "a.db")
		db := sourcetest.NewBank(t, elsewhere, "wal", 10)
		sourcetest.Must(t, sourcetest.Transfer(db, 1, 2))
		sourcetest.CopyBank(t, elsewhere, path) // as a killed application leaves it
		return 11
	},
	"with a journal": func(t *testing.T, path string) int {
		sourcetest.Must(t, sourcetest.NewBank(t, path, "delete", 1000).Close())
		app := sourcetest.StartApplication(t, path, "die")
		sourcetest.Must(t, app.Cmd.Process.Kill())
		_ = app.Cmd.Wait()
		return 1000
	},
}

// newState returns a vault with a backup of a database in WAL mode.
func newState(t *testing.T) (*sourcetest.Vault, source.Entry) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new.db")
	sourcetest.Must(t, sourcetest.NewBank(t, path, "wal", 100).Close())
	s := sourcetest.NewVault(t)
	e, _ := s.Backup(t, newSQLite(t, path))
	return s, e
}

// checkTarget opens the database as an application would.
func checkTarget(t *testing.T, path string, want int) {
	t.Helper()
	there, err := fsx.Exists(path)
	sourcetest.Must(t, err)
	if want < 0 || !there {
		if there || want >= 0 {
			t.Errorf("%s: there is %t, wanted %d transfers", path, there, want)
		}
		return
	}
	db := sourcetest.OpenBank(t, path, "delete")
	if n := sourcetest.Transfers(t, db); n != want {
		t.Errorf("%d transfers instead of %d", n, want)
	}
	sourcetest.Must(t, db.Close())
	sourcetest.MustBeSound(t, path)
}

// A swap that stops after any of its steps ends, in a new process, in the old
// or the new state, whichever is asked for, with nothing left behind.
func TestSQLiteSwapSurvivesACrashAfterEachStep(t *testing.T) {
	s, e := newState(t)
	for name, makeOld := range oldBanks {
		t.Run(name, func(t *testing.T) {
			old := filepath.Join(t.TempDir(), "old.db")
			count := makeOld(t, old)
			for _, end := range []string{"finish", "go back", "swap and go back"} {
				for n, more := 1, true; more; n++ {
					more = sqliteCrash(t, s, e, old, count, end, n)
				}
			}
		})
	}
}

func sqliteCrash(t *testing.T, s *sourcetest.Vault, e source.Entry, old string, want int, end string, n int) bool {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	sourcetest.CopyBank(t, old, path)
	src := newSQLite(t, path)
	s.Stage(t, src, e)
	fault, stopped := sourcetest.StopAfter(n)
	src.Fault = fault
	err := src.Swap(t.Context())
	if err == nil && end == "swap and go back" {
		err = src.SwapBack(t.Context())
	}
	if err == nil && end == "finish" {
		err = src.Discard(t.Context())
	}
	if stopped() != (err != nil) {
		t.Fatalf("%s, step %d: %v", end, n, err)
	}

	src = newSQLite(t, path)
	if end == "finish" {
		want = 100
		if err := src.Swap(t.Context()); err != nil && !errors.Is(err, swap.ErrNothingStaged) {
			t.Fatalf("step %d: %v", n, err)
		}
		sourcetest.Must(t, src.Discard(t.Context()))
	} else {
		sourcetest.Must(t, src.SwapBack(t.Context()))
		sourcetest.Must(t, src.SwapBack(t.Context()))
	}
	sourcetest.MustSweep(t, src)
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("%s after a stop at step %d left %q", end, n, left)
	}
	checkTarget(t, path, want)
	return stopped()
}

// At no moment of a swap is there a database with another's WAL or journal.
func TestSQLiteSwapNeverMixesSideFiles(t *testing.T) {
	s, e := newState(t)
	for name, makeOld := range oldBanks {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.db")
			makeOld(t, path)
			src := newSQLite(t, path)
			s.Stage(t, src, e)
			staged := sourcetest.ReadText(t, src.Staged())
			src.Fault = func(step string) error {
				there, err := fsx.Exists(path)
				with, _ := filepath.Glob(path + "-*")
				if err != nil {
					return err
				}
				if there && sourcetest.ReadText(t, path) == staged && len(with) > 0 {
					t.Errorf("after %q the new database has %q beside it", step, with)
				}
				return nil
			}
			sourcetest.Must(t, src.Swap(t.Context()))
			sourcetest.Must(t, src.SwapBack(t.Context()))
		})
	}
}

// Between swap and commit somebody may have opened the new database.
func TestSQLiteSwapBackDropsTheNewSideFiles(t *testing.T) {
	s, e := newState(t)
	path := filepath.Join(t.TempDir(), "a.db")
	want := oldBanks["with a WAL"](t, path)
	src := newSQLite(t, path)
	s.Stage(t, src, e)
	sourcetest.Must(t, src.Swap(t.Context()))
	app := sourcetest.StartApplication(t, path, "write")
	sourcetest.Must(t, app.Cmd.Process.Kill())
	_ = app.Cmd.Wait()
	sourcetest.Must(t, src.SwapBack(t.Context()))
	checkTarget(t, path, want)
}

func TestSQLiteSwapRefusesWhatItDoesNotKnow(t *testing.T) {
	s, e := newState(t)
	path := filepath.Join(t.TempDir(), "a.db")
	oldBanks["with a WAL"](t, path)
	src := newSQLite(t, path)
	sourcetest.MustFail(t, src.Swap(t.Context()), "nothing is staged")
	s.Stage(t, src, e)

	sourcetest.Must(t, os.WriteFile(src.Staged()+"-wal", []byte("written by a probe"), 0o600))
	sourcetest.MustFail(t, src.Swap(t.Context()), "was written to: stage it again")
	s.Stage(t, src, e)

	src.Fault = func(step string) error {
		if step == "replace" {
			return errors.New("stop")
		}
		return nil
	}
	sourcetest.MustFail(t, src.Swap(t.Context()), "stop")
	sourcetest.MustFail(t, src.Discard(t.Context()), "neither finished nor rolled back")
	sourcetest.MustFail(t, src.Stage(t.Context(), s.Reader(), e), "neither finished nor rolled back")

	sourcetest.Must(t, os.WriteFile(path, nil, 0o600)) // an application that started too early
	src.Fault = swap.NoFault
	for _, err := range []error{src.Swap(t.Context()), src.SwapBack(t.Context())} {
		sourcetest.MustFail(t, err, "was made again in the midst of a swap")
	}
	sourcetest.Must(t, os.Remove(path))
	sourcetest.Must(t, src.Swap(t.Context()))
	if got := sourcetest.ReadText(t, path); !strings.HasPrefix(got, "SQLite format 3") {
		t.Error("not swapped")
	}
}

// What could not be staged whole is not swapped into place: the earlier stage
// is still there, and nothing else.
func TestSQLiteFailedStageIsNoStage(t *testing.T) {
	s, e := newState(t)
	path := filepath.Join(t.TempDir(), "a.db")
	src := newSQLite(t, path)
	s.Stage(t, src, e)
	clear(s.Packs)
	sourcetest.MustFail(t, src.Stage(t.Context(), s.Reader(), e), "stage prefs: ")
	print, err := src.Fingerprint(t.Context())
	sourcetest.Must(t, err)
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 || print == "" {
		t.Errorf("left behind: %v, print %q", left, print)
	}
	sourcetest.Must(t, src.Swap(t.Context()))
	checkTarget(t, path, 100)
	sourcetest.Must(t, src.SwapBack(t.Context()))
	sourcetest.MustFail(t, src.Stage(t.Context(), s.Reader(), e), "stage prefs: ")
	sourcetest.MustFail(t, src.Swap(t.Context()), "nothing is staged")
	sourcetest.MustSweep(t, src)
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

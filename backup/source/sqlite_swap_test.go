package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// oldBanks are states in which a swap may find the target. Each makes one and
// gives the number of its transfers; -1 for no database.
var oldBanks = map[string]func(t *testing.T, path string) int{
	"missing": func(*testing.T, string) int { return -1 },
	"clean": func(t *testing.T, path string) int {
		must(t, newBank(t, path, "delete", 10).Close())
		return 10
	},
	"with a WAL": func(t *testing.T, path string) int {
		elsewhere := filepath.Join(t.TempDir(), "a.db")
		db := newBank(t, elsewhere, "wal", 10)
		must(t, transfer(db, 1, 2))
		copyBank(t, elsewhere, path) // as a killed application leaves it
		return 11
	},
	"with a journal": func(t *testing.T, path string) int {
		must(t, newBank(t, path, "delete", 1000).Close())
		app := startApplication(t, path, "die")
		must(t, app.cmd.Process.Kill())
		_ = app.cmd.Wait()
		return 1000
	},
}

// newState gives a shelf with a backup of a database in WAL mode.
func newState(t *testing.T) (*shelf, Entry) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new.db")
	must(t, newBank(t, path, "wal", 100).Close())
	s := newShelf(t)
	e, _ := s.backup(t, newSQLite(t, path))
	return s, e
}

// checkTarget opens the database as an application would.
func checkTarget(t *testing.T, path string, want int) {
	t.Helper()
	there, err := exists(path)
	must(t, err)
	if want < 0 || !there {
		if there || want >= 0 {
			t.Errorf("%s: there is %t, wanted %d transfers", path, there, want)
		}
		return
	}
	db := openBank(t, path, "delete")
	if n := transfers(t, db); n != want {
		t.Errorf("%d transfers instead of %d", n, want)
	}
	must(t, db.Close())
	mustBeSound(t, path)
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

// copyBank copies a database with what is beside it.
func copyBank(t *testing.T, from, to string) {
	t.Helper()
	for _, side := range append([]string{""}, sides...) {
		if there, _ := exists(from + side); there {
			must(t, os.WriteFile(to+side, []byte(readText(t, from+side)), 0o600))
		}
	}
}

func sqliteCrash(t *testing.T, s *shelf, e Entry, old string, want int, end string, n int) bool {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	copyBank(t, old, path)
	src := newSQLite(t, path)
	s.stage(t, src, e)
	fault, stopped := stopAfter(n)
	src.fault = fault
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
		if err := src.Swap(t.Context()); err != nil && !errors.Is(err, errNothingStaged) {
			t.Fatalf("step %d: %v", n, err)
		}
		must(t, src.Discard(t.Context()))
	} else {
		must(t, src.SwapBack(t.Context()))
		must(t, src.SwapBack(t.Context()))
	}
	mustSweep(t, src)
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
			s.stage(t, src, e)
			staged := readText(t, src.Staged())
			src.fault = func(step string) error {
				there, err := exists(path)
				with, _ := filepath.Glob(path + "-*")
				if err != nil {
					return err
				}
				if there && readText(t, path) == staged && len(with) > 0 {
					t.Errorf("after %q the new database has %q beside it", step, with)
				}
				return nil
			}
			must(t, src.Swap(t.Context()))
			must(t, src.SwapBack(t.Context()))
		})
	}
}

// Between swap and commit somebody may have opened the new database.
func TestSQLiteSwapBackDropsTheNewSideFiles(t *testing.T) {
	s, e := newState(t)
	path := filepath.Join(t.TempDir(), "a.db")
	want := oldBanks["with a WAL"](t, path)
	src := newSQLite(t, path)
	s.stage(t, src, e)
	must(t, src.Swap(t.Context()))
	app := startApplication(t, path, "write")
	must(t, app.cmd.Process.Kill())
	_ = app.cmd.Wait()
	must(t, src.SwapBack(t.Context()))
	checkTarget(t, path, want)
}

func TestSQLiteSwapRefusesWhatItDoesNotKnow(t *testing.T) {
	s, e := newState(t)
	path := filepath.Join(t.TempDir(), "a.db")
	oldBanks["with a WAL"](t, path)
	src := newSQLite(t, path)
	mustFail(t, src.Swap(t.Context()), "nothing is staged")
	s.stage(t, src, e)

	must(t, os.WriteFile(src.Staged()+"-wal", []byte("written by a probe"), 0o600))
	mustFail(t, src.Swap(t.Context()), "was written to: stage it again")
	s.stage(t, src, e)

	src.fault = func(step string) error {
		if step == "replace" {
			return errors.New("stop")
		}
		return nil
	}
	mustFail(t, src.Swap(t.Context()), "stop")
	mustFail(t, src.Discard(t.Context()), "neither finished nor rolled back")
	mustFail(t, src.Stage(t.Context(), s.reader(), e), "neither finished nor rolled back")

	must(t, os.WriteFile(path, nil, 0o600)) // an application that started too early
	src.fault = noFault
	for _, err := range []error{src.Swap(t.Context()), src.SwapBack(t.Context())} {
		mustFail(t, err, "was made again in the midst of a swap")
	}
	must(t, os.Remove(path))
	must(t, src.Swap(t.Context()))
	if got := readText(t, path); !strings.HasPrefix(got, "SQLite format 3") {
		t.Error("not swapped")
	}
}

// What could not be staged whole is not swapped into place: the earlier stage
// is still there, and nothing else.
func TestSQLiteFailedStageIsNoStage(t *testing.T) {
	s, e := newState(t)
	path := filepath.Join(t.TempDir(), "a.db")
	src := newSQLite(t, path)
	s.stage(t, src, e)
	clear(s.packs)
	mustFail(t, src.Stage(t.Context(), s.reader(), e), "stage prefs: ")
	seal, err := src.Seal(t.Context())
	must(t, err)
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 || seal == "" {
		t.Errorf("left behind: %v, seal %q", left, seal)
	}
	must(t, src.Swap(t.Context()))
	checkTarget(t, path, 100)
	must(t, src.SwapBack(t.Context()))
	mustFail(t, src.Stage(t.Context(), s.reader(), e), "stage prefs: ")
	mustFail(t, src.Swap(t.Context()), "nothing is staged")
	mustSweep(t, src)
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

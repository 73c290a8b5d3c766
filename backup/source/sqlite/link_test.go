package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// linkedBank makes a database in WAL mode, of which a part is still in the WAL,
// that is reached through a link of its own and a linked folder. It returns the
// path through the links and the real file.
func linkedBank(t *testing.T) (path, real string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	sourcetest.Must(t, err)
	for _, folder := range []string{"disk", "app"} {
		sourcetest.Must(t, os.Mkdir(filepath.Join(dir, folder), 0o755))
	}
	sourcetest.Must(t, os.Symlink("disk", filepath.Join(dir, "volume")))
	path, real = filepath.Join(dir, "app", "a.db"), filepath.Join(dir, "disk", "b.db")
	sourcetest.Must(t, os.Symlink("../volume/b.db", path))
	db := sourcetest.NewBank(t, path, "wal", 10)
	sourcetest.Must(t, sourcetest.Transfer(db, 1, 2))
	t.Cleanup(func() { _ = db.Close() })
	return path, real
}

// A database is the real file, with what lies beside that one: in a backup, and
// when it is replaced. No link is ever replaced.
func TestSQLiteIsReachedThroughLinks(t *testing.T) {
	path, _ := linkedBank(t)
	src, s := newSQLite(t, path), sourcetest.NewVault(t)
	sourcetest.Must(t, src.Check(t.Context()))
	e, _ := s.Backup(t, src)
	before, err := src.Position(t.Context())
	sourcetest.Must(t, err)
	if n := sourcetest.CheckBank(t, sourcetest.Export(t, s, e)); n != 11 {
		t.Errorf("%d transfers in the backup, want 11", n)
	}
	sourcetest.Must(t, sourcetest.Transfer(sourcetest.OpenBank(t, path, "wal"), 3, 4)) // seen in the WAL alone
	if after, err := src.Position(t.Context()); err != nil || after == before {
		t.Errorf("a commit did not change the position (%v)", err)
	}
	e, _ = s.Backup(t, src)
	if n := sourcetest.CheckBank(t, sourcetest.Export(t, s, e)); n != 12 {
		t.Errorf("%d transfers in the second backup, want 12", n)
	}

	path, real := linkedBank(t)
	src = newSQLite(t, path)
	s.Stage(t, src, e)
	if filepath.Dir(src.Staged()) != filepath.Dir(real) {
		t.Errorf("staged at %s, not beside %s", src.Staged(), real)
	}
	sourcetest.Must(t, src.Swap(t.Context()))
	checkTarget(t, real, 12)
	sourcetest.Must(t, src.SwapBack(t.Context()))
	s.Stage(t, src, e)
	sourcetest.Must(t, src.Swap(t.Context()))
	sourcetest.Must(t, src.Discard(t.Context()))
	if to, err := os.Readlink(path); err != nil || to != "../volume/b.db" {
		t.Errorf("the link was replaced: %q, %v", to, err)
	}
	checkTarget(t, real, 12)
	sourcetest.MustSweep(t, src)
	if left, _ := os.ReadDir(filepath.Dir(real)); len(left) != 1 {
		t.Errorf("left beside the database: %v", left)
	}
}

// A link into a folder that is not there is not followed blindly; one to a file
// that is not there yet is.
func TestSQLiteThroughADanglingLink(t *testing.T) {
	s, e := newState(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	sourcetest.Must(t, os.Symlink(filepath.Join(dir, "gone", "b.db"), path))
	src := newSQLite(t, path)
	_, _, err := sourcetest.NewVault(t).TryBackup(t.Context(), src)
	for _, err := range []error{err, src.Check(t.Context()), src.Stage(t.Context(), s.Reader(), e)} {
		sourcetest.MustFail(t, err, "the symbolic link "+path+" leads to", "there is no "+filepath.Join(dir, "gone"))
	}
	if _, err := os.Lstat(filepath.Join(dir, "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the folder was made")
	}
	sourcetest.Must(t, os.Mkdir(filepath.Join(dir, "gone"), 0o755))
	_, _, err = sourcetest.NewVault(t).TryBackup(t.Context(), src)
	sourcetest.MustFail(t, err, "there is no database at "+filepath.Join(dir, "gone", "b.db"))
	s.Stage(t, src, e)
	sourcetest.Must(t, src.Swap(t.Context()))
	sourcetest.Must(t, src.Discard(t.Context()))
	checkTarget(t, filepath.Join(dir, "gone", "b.db"), 100)
	if _, err := os.Readlink(path); err != nil {
		t.Errorf("the link was replaced: %v", err)
	}
}

// A source that is pinned to a place stays there when the link is changed.
func TestPlacedSourceStaysWhereItBegan(t *testing.T) {
	s, e := newState(t)
	path, real := linkedBank(t)
	src := newSQLite(t, path)
	place, err := src.Place()
	sourcetest.Must(t, err)
	if place != real {
		t.Fatalf("it leads to %s, want %s", place, real)
	}
	s.Stage(t, src, e)
	sourcetest.Must(t, src.Swap(t.Context()))
	sourcetest.Must(t, os.Remove(path))
	sourcetest.Must(t, os.Symlink("../disk/c.db", path))
	sourcetest.MustFail(t, src.Swap(t.Context()), "nothing is staged")
	sourcetest.Must(t, src.At(place).SwapBack(t.Context()))
	if n := sourcetest.Transfers(t, sourcetest.OpenBank(t, real, "wal")); n != 11 {
		t.Errorf("%d transfers in what was put back, want 11", n)
	}
}

func TestSQLiteSaysThatItHasSeveralNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	sourcetest.Must(t, sourcetest.NewBank(t, path, "wal", 10).Close())
	sourcetest.Must(t, os.Link(path, path+"2"))
	src, s := newSQLite(t, path), sourcetest.NewVault(t)
	for range 2 { // the second one is kept
		e, _ := s.Backup(t, src)
		if len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "2 names (hard links)") {
			t.Errorf("warnings %q", e.Warnings)
		}
	}
}

// Whoever may write to the folder of a database can put links where a stage is
// made: nothing is written through them.
func TestSQLiteStageFollowsNoLink(t *testing.T) {
	s, e := newState(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	sourcetest.Must(t, os.WriteFile(secret, []byte("secret"), 0o600))
	sourcetest.Must(t, os.Mkdir(filepath.Join(dir, "app"), 0o777))
	path := filepath.Join(dir, "app", "a.db")
	src := newSQLite(t, path)
	for _, name := range []string{"staging", "staged", "absent"} {
		sourcetest.Must(t, os.Symlink(secret, swap.Besides(path, name)))
	}
	sourcetest.Must(t, os.Remove(swap.Besides(path, "absent"))) // it says that a swap is under way
	s.Stage(t, src, e)
	sourcetest.Must(t, src.Swap(t.Context()))
	info, err := os.Stat(secret)
	sourcetest.Must(t, err)
	if sourcetest.ReadText(t, secret) != "secret" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q, mode %o", sourcetest.ReadText(t, secret), info.Mode())
	}
	checkTarget(t, path, 100)
}

package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/xattr"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func newFileSource(t testing.TB, path string) *Source {
	t.Helper()
	src, err := New("settings", Config{Path: path, Now: sourcetest.Stillness})
	sourcetest.Must(t, err)
	return src
}

// newSettings makes a file with metadata of its own, beside others that do not
// belong to it, that is reached through a link.
func newSettings(t testing.TB) (path, real string) {
	t.Helper()
	dir := t.TempDir()
	path, real = filepath.Join(dir, "link.conf"), filepath.Join(dir, "etc", "app.conf")
	sourcetest.Must(t, os.Mkdir(filepath.Dir(real), 0o755))
	sourcetest.Must(t, os.WriteFile(real, []byte("color = blue\n"), 0o640))
	sourcetest.Must(t, os.WriteFile(real+"-wal", []byte("somebody else's"), 0o600))
	sourcetest.Must(t, xattr.Set(real, "user.origin", []byte("x")))
	sourcetest.Must(t, os.Chtimes(real, time.Unix(1e9, 5), time.Unix(1e9, 5)))
	sourcetest.Must(t, os.Symlink("etc/app.conf", path))
	return path, real
}

// A single file is a source: its content and its metadata are restored where its
// path leads, and nothing beside it is touched.
func TestASingleFileIsASource(t *testing.T) {
	path, real := newSettings(t)
	src, s := newFileSource(t, path), sourcetest.NewVault(t)
	sourcetest.Must(t, src.Check(t.Context()))
	e, _ := s.Backup(t, src)
	again, stats := s.Backup(t, src)
	if stats.New != 0 || !again.Root.Equal(e.Root) {
		t.Errorf("an unchanged file: %d new bytes", stats.New)
	}
	to := sourcetest.Export(t, s, e)
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o640 || !info.ModTime().Equal(time.Unix(1e9, 5)) || sourcetest.ReadText(t, to) != "color = blue\n" {
		t.Errorf("exported: %v, %v", info, err)
	}
	other := filepath.Join(t.TempDir(), "not", "yet", "app.conf") // on a blank host
	blank := newFileSource(t, other)
	sourcetest.Must(t, blank.CheckRestore(t.Context()))
	s.Stage(t, blank, e)
	sourcetest.Must(t, blank.Swap(t.Context()))
	sourcetest.Must(t, blank.Discard(t.Context()))
	checkSettings(t, other, "color = blue\n")

	sourcetest.Must(t, os.WriteFile(real, []byte("color = green\n"), 0o640))
	s.Stage(t, src, e)
	sourcetest.Must(t, src.Swap(t.Context()))
	checkSettings(t, real, "color = blue\n")
	sourcetest.Must(t, src.SwapBack(t.Context()))
	if text := sourcetest.ReadText(t, real); text != "color = green\n" {
		t.Errorf("swapped back to %q", text)
	}
	if text := sourcetest.ReadText(t, real+"-wal"); text != "somebody else's" {
		t.Errorf("the file beside it holds %q", text)
	}
	if _, err := os.Readlink(path); err != nil {
		t.Errorf("the link was replaced: %v", err)
	}
	sourcetest.MustSweep(t, src)
	if left, _ := os.ReadDir(filepath.Dir(real)); len(left) != 2 {
		t.Errorf("left beside the file: %v", left)
	}
}

func checkSettings(t *testing.T, path, want string) {
	t.Helper()
	info, err := os.Stat(path)
	sourcetest.Must(t, err)
	value, err := xattr.Get(path, "user.origin")
	if sourcetest.ReadText(t, path) != want || info.Mode().Perm() != 0o640 || !info.ModTime().Equal(time.Unix(1e9, 5)) || string(value) != "x" {
		t.Errorf("%s: %q, mode %v, time %v, attribute %q (%v)", path, sourcetest.ReadText(t, path), info.Mode(), info.ModTime(), value, err)
	}
}

// A swap of a file that stops anywhere ends with the old one or the new one.
func TestASwapOfAFileStoppedAnywhereEnds(t *testing.T) {
	for _, end := range []string{"on", "back"} {
		for n, stopped := 0, true; stopped; n++ {
			path, real := newSettings(t)
			src, s := newFileSource(t, path), sourcetest.NewVault(t)
			e, _ := s.Backup(t, src)
			sourcetest.Must(t, os.WriteFile(real, []byte("old"), 0o640))
			s.Stage(t, src, e)
			left := n
			src.Fault = func(string) error {
				if left--; left == -1 {
					return errors.New("stopped")
				}
				return nil
			}
			stopped = src.Swap(t.Context()) != nil
			src.Fault = swap.NoFault
			want := "color = blue\n"
			if end == "on" {
				sourcetest.Must(t, src.Swap(t.Context()))
				sourcetest.Must(t, src.Discard(t.Context()))
			} else {
				sourcetest.Must(t, src.SwapBack(t.Context()))
				want = "old"
			}
			if text := sourcetest.ReadText(t, real); text != want {
				t.Errorf("stopped after %d steps and went %s: %q", n, end, text)
			}
		}
	}
}

// What is no single file of its own kind is refused with what to do, and one that
// is missing is no empty file.
func TestAFileSourceRefusesWhatItIsNotFor(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "a.db")
	sourcetest.Must(t, sourcetest.NewBank(t, db, "delete", 1).Close())
	for path, want := range map[string]string{dir: "not a regular file", db: "the kind sqlite", filepath.Join(dir, "none"): "no such file"} {
		src, s := newFileSource(t, path), sourcetest.NewVault(t)
		if err := src.Check(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("check of %s: %v", path, err)
		}
		if _, _, err := s.TryBackup(t.Context(), src); err == nil {
			t.Errorf("%s was backed up", path)
		}
	}
}

// A file that loses all that it had, or is gone, is not published as such.
func TestAFileThatBecameEmptyIsTold(t *testing.T) {
	path, real := newSettings(t)
	src, s := newFileSource(t, path), sourcetest.NewVault(t)
	was, _ := s.Backup(t, src)
	sourcetest.Must(t, os.Truncate(real, 0))
	is, _ := s.Backup(t, src)
	if source.Lost(was, is) == "" || source.Lost(was, was) != "" {
		t.Errorf("emptied: %q", source.Lost(was, is))
	}
	sourcetest.Must(t, os.Remove(real))
	if _, _, err := s.TryBackup(t.Context(), src); err == nil || !strings.Contains(err.Error(), fs.ErrNotExist.Error()) {
		t.Errorf("a file that is gone: %v", err)
	}
}

package directory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/source/volume"
)

func volumesOf(t *testing.T, src source.Source) []volume.Volume {
	t.Helper()
	v, err := source.Volumes(t.Context(), src)
	sourcetest.Must(t, err)
	return v
}

func nothingHeld(string) bool { return false }

// Each case mounts something, and takes away what the source lies on.
func TestAMountThatIsGoneIsAnotherVolume(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir string) (path string, away func()){
		"the path itself": func(t *testing.T, dir string) (string, func()) {
			path := filepath.Join(dir, "volume")
			sourcetest.Mounting(t, "understudy", path, "tmpfs", 0)
			return path, func() { sourcetest.Umount(t, path) }
		},
		"a folder above": func(t *testing.T, dir string) (string, func()) {
			point := filepath.Join(dir, "volume")
			sourcetest.Mounting(t, "understudy", point, "tmpfs", 0)
			path := filepath.Join(point, "a", "b")
			sourcetest.Must(t, os.MkdirAll(path, 0o755))
			return path, func() {
				sourcetest.Umount(t, point)
				sourcetest.Must(t, os.MkdirAll(path, 0o755)) // by an application that found nothing
			}
		},
		"a folder above, and the path too": func(t *testing.T, dir string) (string, func()) {
			point := filepath.Join(dir, "volume")
			sourcetest.Mounting(t, "understudy", point, "tmpfs", 0)
			path := filepath.Join(point, "a")
			sourcetest.Must(t, os.MkdirAll(path, 0o755))
			return path, func() { sourcetest.Umount(t, point) }
		},
		"a part of the same file system": func(t *testing.T, dir string) (string, func()) {
			path := filepath.Join(dir, "bound")
			sourcetest.Must(t, os.MkdirAll(filepath.Join(dir, "real"), 0o755))
			sourcetest.Mounting(t, filepath.Join(dir, "real"), path, "", unix.MS_BIND)
			return path, func() { sourcetest.Umount(t, path) }
		},
		"another file system of the same type": func(t *testing.T, dir string) (string, func()) {
			path := filepath.Join(dir, "volume")
			sourcetest.Mounting(t, "one", path, "tmpfs", 0)
			return path, func() {
				sourcetest.Umount(t, path)
				sourcetest.Mounting(t, "one", path, "tmpfs", 0)
			}
		},
		"one that hides it": func(t *testing.T, dir string) (string, func()) {
			path := filepath.Join(dir, "volume")
			sourcetest.Must(t, os.MkdirAll(path, 0o755))
			return path, func() { sourcetest.Mounting(t, "above", path, "tmpfs", 0) }
		},
		"a symbolic link's": func(t *testing.T, dir string) (string, func()) {
			sourcetest.Mounting(t, "understudy", filepath.Join(dir, "volume"), "tmpfs", 0)
			path := filepath.Join(dir, "link")
			sourcetest.Must(t, os.Symlink("volume", path))
			return path, func() { sourcetest.Umount(t, filepath.Join(dir, "volume")) }
		},
		"another folder of the same file system": func(t *testing.T, dir string) (string, func()) {
			path := filepath.Join(dir, "link")
			sourcetest.Must(t, os.Mkdir(filepath.Join(dir, "one"), 0o755))
			sourcetest.Must(t, os.Mkdir(filepath.Join(dir, "other"), 0o755))
			sourcetest.Must(t, os.Symlink("one", path))
			return path, func() {
				sourcetest.Must(t, os.Remove(path))
				sourcetest.Must(t, os.Symlink("other", path))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, away := change(t, t.TempDir())
			d, db := newTestDirectory(t, path), newGuest(t, filepath.Join(path, "app.db"))
			was, wasDB := volumesOf(t, d), volumesOf(t, db)
			for _, src := range []source.Source{d, db} {
				if found := volume.Moved(volumesOf(t, src), volumesOf(t, src), nothingHeld); found != nil {
					t.Errorf("nothing has changed: %q", found)
				}
			}
			away()
			found := volume.Moved(was, volumesOf(t, d), nothingHeld)
			if len(found) != 1 || !strings.Contains(found[0], "was on") || !strings.Contains(found[0], " is on ") {
				t.Errorf("found %q", found)
			}
			if was, is, _ := strings.Cut(found[0], ", is on "); strings.HasSuffix(was, "was on "+is) {
				t.Errorf("it says nothing of what has changed: %q", found)
			}
			if found := volume.Moved(wasDB, volumesOf(t, db), nothingHeld); len(found) != 1 {
				t.Errorf("of the database: found %q", found)
			}
		})
	}
}

// The same folder of the same file system is the same, wherever that is mounted:
// as in the view that a service has of its own folders.
func TestTheSameFolderIsTheSameVolume(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app")
	sourcetest.Must(t, os.Mkdir(path, 0o755))
	was := volumesOf(t, newTestDirectory(t, path))
	sourcetest.Mounting(t, path, path, "", unix.MS_BIND)
	is := volumesOf(t, newTestDirectory(t, path))
	if is[0].Mount != path || was[0].Mount == path {
		t.Errorf("mounted at %s, then at %s", was[0].Mount, is[0].Mount)
	}
	if found := volume.Moved(was, is, nothingHeld); found != nil {
		t.Errorf("found %q", found)
	}
}

func TestAMountWithinThatIsGoneCountsWhereItHadFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app")
	full, empty, left := filepath.Join(path, "full"), filepath.Join(path, "empty"), filepath.Join(path, "left out")
	for _, point := range []string{full, empty, left} {
		sourcetest.Mounting(t, "understudy", point, "tmpfs", 0)
	}
	sourcetest.Must(t, os.MkdirAll(filepath.Join(full, "deep"), 0o755))
	sourcetest.Must(t, os.WriteFile(filepath.Join(full, "deep", "x"), []byte("x"), 0o644))
	sourcetest.Must(t, os.WriteFile(filepath.Join(left, "x"), []byte("x"), 0o644))
	d := newTestDirectory(t, path, "left out")
	v := sourcetest.NewVault(t)
	e, _ := v.Backup(t, d)
	if m := factsOf(t, e).Mounts; len(m) != 1 || m["full"] != 1 {
		t.Errorf("files on other file systems: %v", m)
	}
	was := volumesOf(t, d)
	for _, point := range []string{empty, left} {
		sourcetest.Umount(t, point)
		if found := volume.Moved(was, volumesOf(t, d), source.HeldIn(e)); found != nil {
			t.Errorf("without %s: %q", point, found)
		}
	}
	sourcetest.Umount(t, full)
	if found := volume.Moved(was, volumesOf(t, d), source.HeldIn(e)); len(found) != 1 || !strings.Contains(found[0], full) {
		t.Errorf("found %q", found)
	}
	sourcetest.Mounting(t, "understudy", full, "tmpfs", 0)
	if found := volume.Moved(was, volumesOf(t, d), source.HeldIn(e)); len(found) != 1 || !strings.Contains(found[0], "is on") {
		t.Errorf("another one: found %q", found)
	}
}

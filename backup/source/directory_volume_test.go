package source

import (
	"golang.org/x/sys/unix"
	"os"
	"path/filepath"
	"strings"
	"testing"
) // mounting mounts something until the test ends, or umount does.
func mounting(t *testing.T, device, point, kind string, flags uintptr) {
	t.Helper()
	do(t, os.MkdirAll(point, 0o755))
	err := unix.Mount(device, point, kind, flags, "")
	if err != nil {
		t.Fatalf("mount a volume (the tests run as root): %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) })
}
func umount(t *testing.T, point string) { t.Helper(); do(t, unix.Unmount(point, 0)) }
func volumesOf(t *testing.T, src Source) []Volume {
	t.Helper()
	v, err := Volumes(t.Context(), src)
	do(t, err)
	return v
}
func nothingHeld(string) bool { return false } // Each case mounts something, and takes away what the source lies on.
func TestAMountThatIsGoneIsAnotherVolume(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir string) (path string, away func()){"the path itself": func(t *testing.T, dir string) (string, func()) {
		path := filepath.Join(dir, "volume")
		mounting(t, "understudy", path, "tmpfs", 0)
		return path, func() { umount(t, path) }
	}, "a folder above": func(t *testing.T, dir string) (string, func()) {
		point := filepath.Join(dir, "volume")
		mounting(t, "understudy", point, "tmpfs", 0)
		path := filepath.Join(point, "a", "b")
		do(t, os.MkdirAll(path, 0o755))
		return path, func() { umount(t, point); do(t, os.MkdirAll(path, 0o755)) } // by an application that found nothing
	}, "a folder above, and the path too": func(t *testing.T, dir string) (string, func()) {
		point := filepath.Join(dir, "volume")
		mounting(t, "understudy", point, "tmpfs", 0)
		path := filepath.Join(point, "a")
		do(t, os.MkdirAll(path, 0o755))
		return path, func() { umount(t, point) }
	}, "a part of the same file system": func(t *testing.T, dir string) (string, func()) {
		path := filepath.Join(dir, "bound")
		do(t, os.MkdirAll(filepath.Join(dir, "real"), 0o755))
		mounting(t, filepath.Join(dir, "real"), path, "", unix.MS_BIND)
		return path, func() { umount(t, path) }
	},
		"another file system of the same type": func(t *testing.T, dir string) (string, func()) {
			path := filepath.Join(dir, "volume")
			mounting(t, "one", path, "tmpfs", 0)
			return path, func() {
				umount(t, path)
				mounting(t, "one", path, "tmpfs", 0)
			}
		},
		"one that hides it": func(t *testing.T, dir string) (string, func()) {
			path := filepath.Join(dir, "volume")
			do(t, os.MkdirAll(path, 0o755))
			return path, func() { mounting(t, "above", path, "tmpfs", 0) }
		},
		"a symbolic link's": func(t *testing.T, dir string) (string, func()) {
			mounting(t, "understudy", filepath.Join(dir, "volume"), "tmpfs", 0)
			path := filepath.Join(dir, "link")
			do(t, os.Symlink("volume", path))
			return path, func() { umount(t, filepath.Join(dir, "volume")) }
		},
		"another folder of the same file system": func(t *testing.T, dir string) (string, func()) {
			path := filepath.Join(dir, "link")
			do(t, os.Mkdir(filepath.Join(dir, "one"), 0o755))
			do(t, os.Mkdir(filepath.Join(dir, "other"), 0o755))
			do(t, os.Symlink("one", path))
			return path, func() {
				do(t, os.Remove(path))
				do(t, os.Symlink("other", path))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, away := change(t, t.TempDir())
			d, db := newTestDirectory(t, path), newSQLite(t, filepath.Join(path, "app.db"))
			was, wasDB := volumesOf(t, d), volumesOf(t, db)
			for _, src := range []Source{d, db} {
				if found := Moved(volumesOf(t, src), volumesOf(t, src), nothingHeld); found != nil {
					t.Errorf("nothing has changed: %q", found)
				}
			}
			away()
			found := Moved(was, volumesOf(t, d), nothingHeld)
			if len(found) != 1 || !strings.Contains(found[0], "was on") || !strings.Contains(found[0], " is on ") {
				t.Errorf("found %q", found)
			}
			if was, is, _ := strings.Cut(found[0], ", is on "); strings.HasSuffix(was, "was on "+is) {
				t.Errorf("it says nothing of what has changed: %q", found)
			}
			if found := Moved(wasDB, volumesOf(t, db), nothingHeld); len(found) != 1 {
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
	do(t, os.Mkdir(path, 0o755))
	was := volumesOf(t, newTestDirectory(t, path))
	mounting(t, path, path, "", unix.MS_BIND)
	is := volumesOf(t, newTestDirectory(t, path))
	if is[0].Mount != path || was[0].Mount == path {
		t.Errorf("mounted at %s, then at %s", was[0].Mount, is[0].Mount)
	}
	if found := Moved(was, is, nothingHeld); found != nil {
		t.Errorf("found %q", found)
	}
}

func TestAMountWithinThatIsGoneCountsWhereItHadFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app")
	full, empty, left := filepath.Join(path, "full"), filepath.Join(path, "empty"), filepath.Join(path, "left out")
	for _, point := range []string{full, empty, left} {
		mounting(t, "understudy", point, "tmpfs", 0)
	}
	do(t, os.MkdirAll(filepath.Join(full, "deep"), 0o755))
	do(t, os.WriteFile(filepath.Join(full, "deep", "x"), []byte("x"), 0o644))
	do(t, os.WriteFile(filepath.Join(left, "x"), []byte("x"), 0o644))
	d := newTestDirectory(t, path, "left out")
	v := newVault(t)
	e, _ := v.mustBackup(d)
	if m := factsOf(t, e).Mounts; len(m) != 1 || m["full"] != 1 {
		t.Errorf("files on other file systems: %v", m)
	}
	was := volumesOf(t, d)
	for _, point := range []string{empty, left} {
		umount(t, point)
		if found := Moved(was, volumesOf(t, d), HeldIn(e)); found != nil {
			t.Errorf("without %s: %q", point, found)
		}
	}
	umount(t, full)
	if found := Moved(was, volumesOf(t, d), HeldIn(e)); len(found) != 1 || !strings.Contains(found[0], full) {
		t.Errorf("found %q", found)
	}
	mounting(t, "understudy", full, "tmpfs", 0)
	if found := Moved(was, volumesOf(t, d), HeldIn(e)); len(found) != 1 || !strings.Contains(found[0], "is on") {
		t.Errorf("another one: found %q", found)
	}
}

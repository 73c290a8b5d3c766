package fsx

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open1(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := Open(path)
	do(t, err)
	t.Cleanup(d.Close)
	return d
}

// TestNamesLeadNowhereElse: of what is not a regular file nothing is opened, and
// nothing waits.
func TestNamesLeadNowhereElse(t *testing.T) {
	dir := t.TempDir()
	d := open1(t, dir)
	do(t, os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600))
	do(t, os.Symlink("file", filepath.Join(dir, "link")))
	do(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	do(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	for _, name := range []string{"link", "fifo", "folder"} {
		if _, err := d.Open(name, unix.O_RDONLY); !errors.Is(err, ErrNotFile) {
			t.Errorf("open %s: %v", name, err)
		}
		if _, err := d.Create(name); !errors.Is(err, fs.ErrExist) {
			t.Errorf("create %s: %v", name, err)
		}
		if _, err := d.Make(name); !errors.Is(err, fs.ErrExist) {
			t.Errorf("make %s: %v", name, err)
		}
	}
	for _, name := range []string{"link", "fifo", "file"} {
		if _, err := d.OpenDir(name); err == nil {
			t.Errorf("%s is a folder", name)
		}
	}
	if err := Chmod(d.FD(), "link", 0o777); err == nil {
		t.Error("the mode of a link's target was changed")
	}
	do(t, Chmod(d.FD(), "file", 0o640))
	do(t, d.Replace("link", []byte("new"), 0o644))
	if text, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(text) != "content" {
		t.Errorf("written through a link: %q, %v", text, err)
	}
	if _, err := os.Readlink(filepath.Join(dir, "link")); err == nil {
		t.Error("the link is there")
	}
	if _, err := d.ReadOwn("file", 3); err == nil {
		t.Error("read more than the bound")
	}
}

// TestADirIsHeld: what has its path later is another folder.
func TestADirIsHeld(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	do(t, os.Mkdir(dir, 0o700))
	d := open1(t, dir)
	do(t, os.Rename(dir, dir+"2"))
	do(t, os.Symlink("/", dir))
	f, err := d.Create("a")
	do(t, err)
	do(t, f.Close())
	do(t, d.Move("a", "b"))
	made, err := d.Make("made")
	do(t, err)
	made.Close()
	names, err := d.Names()
	do(t, err)
	if strings.Join(names, " ") != "b made" {
		t.Errorf("the folder has %v", names)
	}
	if err := d.RenameNew("b", d, "made"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("renamed over something: %v", err)
	}
}

// TestBeneathIsBeneath, with openat2 and without.
func TestBeneathIsBeneath(t *testing.T) {
	dir := t.TempDir()
	do(t, os.MkdirAll(filepath.Join(dir, "in", "a", "b"), 0o700))
	do(t, os.WriteFile(filepath.Join(dir, "in", "a", "b", "file"), nil, 0o600))
	do(t, os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600))
	do(t, os.Symlink("a", filepath.Join(dir, "in", "link")))
	do(t, os.Symlink("../secret", filepath.Join(dir, "in", "out")))
	in := open1(t, filepath.Join(dir, "in"))
	long := strings.Repeat("n/", 3000) + "x"
	for name, open := range map[string]func(int, string, int) (int, error){"openat2": Beneath, "step by step": stepwise} {
		for path, want := range map[string]bool{"a/b/file": true, "link/b/file": false, "out": false, "../secret": false, "a/../../secret": false, "a/b/none": false, long: false} {
			fd, err := open(in.FD(), path, unix.O_RDONLY)
			if (err == nil) != want {
				t.Errorf("%s: %.20s: %v", name, path, err)
			}
			if err == nil {
				do(t, unix.Close(fd))
			}
		}
	}
}

// TestResolveHoldsWhereAPathLeads, and says what is missing.
func TestResolveHoldsWhereAPathLeads(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	do(t, err)
	do(t, os.MkdirAll(filepath.Join(dir, "real", "deep"), 0o755))
	do(t, os.WriteFile(filepath.Join(dir, "real", "file"), nil, 0o600))
	do(t, os.Symlink("../real", filepath.Join(dir, "real", "round")))
	for path, want := range map[string]string{
		"real/file": "real/file", "real/round/file": "real/file", "real/round/round/deep": "real/deep", "real/deep/..": "real",
		"real/x/y/z": "real/x/y/z",
	} {
		p, err := Resolve(filepath.Join(dir, path))
		do(t, err)
		if p.Path() != filepath.Join(dir, want) {
			t.Errorf("%s leads to %s", path, p.Path())
		}
		if there, err := p.Exists(); err != nil || there != !strings.Contains(path, "x/y") {
			t.Errorf("%s is there: %v, %v", path, there, err)
		}
		p.Close()
	}
	if p, err := Resolve("/"); err != nil || p.Path() != "/" {
		t.Errorf("the root is %v, %v", p, err)
	}
	if _, err := Resolve(filepath.Join(dir, "real", "file", "x")); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
}

package directory

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestADamagedStageIsMadeGood damages a stage in every way, and brings it forward
// to the same backup, and to another one.
func TestADamagedStageIsMadeGood(t *testing.T) {
	g := newGenerations(t)
	for name, harm := range map[string]func(file, folder string) error{
		"nothing": func(string, string) error { return nil },
		"content, its time put back": func(file, _ string) error {
			info, err := os.Stat(file)
			if err != nil {
				return err
			}
			if err := os.WriteFile(file, make([]byte, info.Size()), 0); err != nil {
				return err
			}
			return os.Chtimes(file, info.ModTime(), info.ModTime())
		},
		"removed": func(file, _ string) error { return os.Remove(file) },
		"mode":    func(file, _ string) error { return os.Chmod(file, 0o777) },
		"a folder instead": func(file, _ string) error {
			return replaceBy(file, func() error { return os.MkdirAll(filepath.Join(file, "x"), 0o755) })
		},
		"a link instead": func(file, _ string) error {
			return replaceBy(file, func() error { return os.Symlink("/etc/passwd", file) })
		},
		"a stranger":         func(_, folder string) error { return os.WriteFile(filepath.Join(folder, "stranger"), nil, 0o600) },
		"a strange folder":   func(_, folder string) error { return os.MkdirAll(filepath.Join(folder, "strange", "one"), 0o700) },
		"the folder's mode":  func(_, folder string) error { return os.Chmod(folder, 0o701) },
		"the folder removed": func(_, folder string) error { return os.RemoveAll(folder) },
		"the folder a file": func(_, folder string) error {
			return replaceBy(folder, func() error { return os.WriteFile(folder, nil, 0o600) })
		},
		"the folder a link": func(_, folder string) error {
			return replaceBy(folder, func() error { return os.Symlink("/etc", folder) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := byRename(t)
			sourcetest.Must(t, d.Stage(t.Context(), g.readA, g.a))
			if found, err := d.Inspect(t.Context()); err != nil || found.Damaged != 0 || found.Entries == 0 {
				t.Fatalf("at first: %+v, %v", found, err)
			}
			file := firstFile(t, d.Staged())
			sourcetest.Must(t, harm(file, filepath.Dir(file)))
			if found, err := d.Inspect(t.Context()); err != nil || (found.Damaged > 0) != (name != "nothing") {
				t.Errorf("after that: %+v, %v", found, err)
			}
			sourcetest.Must(t, d.Advance(t.Context(), g.readA, g.a, g.a))
			whole(t, d, g.older)
			file = firstFile(t, d.Staged())
			sourcetest.Must(t, harm(file, filepath.Dir(file)))
			sourcetest.Must(t, d.Advance(t.Context(), g.readB, g.a, g.b))
			whole(t, d, g.newer)
		})
	}
}

// whole fails where a stage is not what a tree is, or has damage.
func whole(t *testing.T, d *Source, tree string) {
	t.Helper()
	sourcetest.CompareTrees(t, tree, d.Staged())
	if found, err := d.Inspect(t.Context()); err != nil || found.Damaged != 0 {
		t.Errorf("once it was made good: %+v, %v", found, err)
	}
}

func replaceBy(path string, with func() error) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return with()
}

// firstFile is a file deep in a tree.
func firstFile(t *testing.T, dir string) (found string) {
	t.Helper()
	sourcetest.Must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && found == "" && e.Type().IsRegular() && strings.Count(path[len(dir):], "/") > 1 {
			found = path
		}
		return err
	}))
	if found == "" {
		t.Fatal("there is none")
	}
	return found
}

// TestMarksDoNotCountAnotherName: another name of a file may come and go.
func TestMarksDoNotCountAnotherName(t *testing.T) {
	st := unix.Stat_t{Mode: unix.S_IFREG | 0o600, Nlink: 2, Ino: 7, Size: 9}
	before := markOf(&st, false)
	st.Ctim.Sec++
	if markOf(&st, false) != before {
		t.Error("the change time of a file with two names counts")
	}
	st.Nlink = 1
	if markOf(&st, false) == before {
		t.Error("the change time of a file with one name does not count")
	}
}

// BenchmarkInspect compares 100,000 files with their marks.
func BenchmarkInspect(b *testing.B) {
	const folders, each = 100, 1000
	dir := filepath.Join(b.TempDir(), "stage")
	list := func(context.Context) iter.Seq2[*tree.Node, error] {
		return func(yield func(*tree.Node, error) bool) {
			for i := range folders {
				if !yield(&tree.Node{Path: fmt.Sprintf("%03d", i), Type: tree.Directory}, nil) {
					return
				}
				for j := range each {
					if !yield(&tree.Node{Path: fmt.Sprintf("%03d/%04d", i, j), Type: tree.RegularFile}, nil) {
						return
					}
				}
			}
		}
	}
	for n := range list(b.Context()) {
		path := filepath.Join(dir, n.Path)
		if n.Type == tree.Directory {
			sourcetest.Must(b, os.MkdirAll(path, 0o755))
		} else {
			sourcetest.Must(b, os.WriteFile(path, nil, 0o644))
		}
	}
	marks := filepath.Join(b.TempDir(), "marks")
	in, stage := sourcetest.Held(b, filepath.Dir(marks)), sourcetest.Held(b, dir)
	sourcetest.Must(b, writeMarks(b.Context(), list, stage, in, "marks"))
	root, err := opendir.OpenHeld(stage)
	sourcetest.Must(b, err)
	defer root.Release()
	for b.Loop() {
		if _, found, err := inspect(b.Context(), list, in, "marks", root); err != nil || found.Damaged != 0 || found.Entries != folders*(each+1) {
			b.Fatal(found, err)
		}
	}
}

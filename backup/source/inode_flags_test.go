package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	appendOnly = 0x20
	noDump     = 0x40
	noAccess   = 0x80
)

// flagged sets the flags of a file or folder until the end of the test.
func flagged(t *testing.T, path string, flags int) {
	t.Helper()
	flag(t, path, flags)
	t.Cleanup(func() { flag(t, path, 0) })
}

// flagWarning is what a backup says of inode flags.
func flagWarning(t *testing.T, e Entry) string {
	t.Helper()
	at := slices.IndexFunc(e.Warnings, func(text string) bool { return strings.Contains(text, "(chattr)") })
	if at < 0 {
		return ""
	}
	return e.Warnings[at]
}

// A backup says which entries have inode flags, which it does not keep: also when
// it does not open the files, as they have not changed.
func TestDirectorySaysWhichFlagsItDoesNotKeep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "live")
	for _, name := range []string{"locked", "logs/app.log", "logs/old.log", "plain"} {
		do(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		do(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
	}
	do(t, newBank(t, filepath.Join(dir, "app.db"), "delete", 3).Close())
	flagged(t, dir, noDump)
	flagged(t, filepath.Join(dir, "app.db"), noDump)
	flagged(t, filepath.Join(dir, "locked"), immutable)
	flagged(t, filepath.Join(dir, "logs/app.log"), appendOnly|noAccess)
	flagged(t, filepath.Join(dir, "logs/old.log"), appendOnly)
	d, v := newTestDirectory(t, dir), newVault(t)
	const want = `5 entries have inode flags (chattr), which no backup keeps: 1 immutable ("locked"); ` +
		`2 append-only ("logs/app.log", "logs/old.log"); 2 no dump (live itself, "app.db"); 1 no access times ("logs/app.log")`
	opened := counted(d)
	for i := range 3 {
		if e, _ := v.mustBackup(d); flagWarning(t, e) != want {
			t.Errorf("warnings %q\nwant %q", e.Warnings, want)
		}
		if n := opened(); i > 0 && n > 0 {
			t.Errorf("%d files that have not changed were read", n)
		}
	}
	// The backup of a version that did not look at them.
	var facts map[string]any
	do(t, json.Unmarshal(v.prev.Entry.Facts, &facts))
	delete(facts, "flags")
	raw, err := json.Marshal(facts)
	do(t, err)
	v.prev.Entry.Facts = raw
	if e, _ := v.mustBackup(d); flagWarning(t, e) != want {
		t.Errorf("after a backup without: %q", e.Warnings)
	}
	flag(t, filepath.Join(dir, "locked"), 0)
	if e, _ := v.mustBackup(d); strings.Contains(flagWarning(t, e), "immutable") {
		t.Errorf("once it is cleared: %q", e.Warnings)
	}
}

// However many there are, and whatever else there is to say.
func TestDirectoryCountsFlags(t *testing.T) {
	dir := t.TempDir()
	for i := range 2*maxWarnings + 5 {
		path := filepath.Join(dir, fmt.Sprintf("file-%02d", i))
		do(t, os.WriteFile(path, nil, 0o644))
		flagged(t, path, noDump)
	}
	d, v := newTestDirectory(t, dir), newVault(t)
	for range 2 {
		e, _ := v.mustBackup(d)
		if text := flagWarning(t, e); !strings.HasPrefix(text, "45 entries have") || !strings.HasSuffix(text, `45 no dump ("file-00", "file-01", "file-02", …)`) {
			t.Errorf("warnings %q", e.Warnings)
		}
	}
}

// singles are the sources that are one file each, and make that.
var singles = map[string]func(t *testing.T, path string) Source{
	"sqlite": func(t *testing.T, path string) Source {
		do(t, newBank(t, path, "delete", 3).Close())
		do(t, os.Chmod(path, 0o640))
		return newSQLite(t, path)
	},
	"file": func(t *testing.T, path string) Source {
		do(t, os.WriteFile(path, []byte("text"), 0o640))
		return newFileSource(t, path)
	},
}

// A file that is a source of its own: what it has is kept as that of a file in a
// directory is, or said not to be.
func TestSingleFilesKeepAttributes(t *testing.T) {
	// user::rw-, user:42:rw-, group::r--, mask::rw-, other::---
	acl := []byte("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x06\x00\x2a\x00\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x06\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff")
	for name, make := range singles {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "one")
			src, v := make(t, path), newVault(t)
			do(t, unix.Setxattr(path, "user.origin", []byte("a\x00b"), 0))
			before, _ := v.mustBackup(src)
			do(t, unix.Setxattr(path, "system.posix_acl_access", acl, 0))
			flagged(t, path, noDump)
			var e Entry
			for range 2 { // the second one reads nothing
				e, _ = v.mustBackup(src)
				if !strings.Contains(flagWarning(t, e), path+" has inode flags (chattr), which no backup keeps: no dump") {
					t.Errorf("warnings %q", e.Warnings)
				}
			}
			if SameStage(before, e) {
				t.Error("a stage without the ACL counts as the same one")
			}
			want := attributesOf(t, path)
			if len(want) != 2 {
				t.Fatalf("attributes %v", want)
			}
			do(t, src.Stage(t.Context(), v.last(), e))
			out := filepath.Join(dir, "out")
			do(t, Export(t.Context(), v.last(), e, out))
			for what, at := range map[string]string{"stage": besides(path, "staged"), "export": out} {
				if got := attributesOf(t, at); !sameXattrs(got, want) {
					t.Errorf("%s: attributes %v, want %v", what, got, want)
				}
				if info, err := os.Stat(at); err != nil || info.Mode().Perm() != 0o660 {
					t.Errorf("%s: mode %v, %v", what, info.Mode(), err)
				}
			}
		})
	}
}

// A stage goes without what its file system does not take, and says so; a strict
// export does not.
func TestSingleFilesOnAFileSystemWithoutAttributes(t *testing.T) {
	for name, make := range singles {
		t.Run(name, func(t *testing.T) {
			path, v := filepath.Join(t.TempDir(), "one"), newVault(t)
			src := make(t, path)
			do(t, unix.Setxattr(path, "user.origin", []byte("o"), 0))
			e, _ := v.mustBackup(src)
			bare := filepath.Join(t.TempDir(), "ram")
			mounting(t, "ramfs", bare, "ramfs", 0)
			if err := Export(t.Context(), v.last(), e, filepath.Join(bare, "strict")); !errors.Is(err, unix.ENOTSUP) {
				t.Errorf("strict: %v", err)
			}
			losses := new(Losses)
			do(t, Export(WithLosses(t.Context(), losses), v.last(), e, filepath.Join(bare, "by hand")))
			if first := losses.First(); len(first) != 1 || first[0].What != ofAttributes {
				t.Errorf("losses %+v", first)
			}
			there, said := src.(Placed).At(filepath.Join(bare, "one")), new(Examination)
			do(t, there.Stage(WithExamination(t.Context(), said), v.last(), e))
			if !slices.ContainsFunc(said.Unchecked, func(s string) bool { return strings.Contains(s, "1 extended attributes") }) {
				t.Errorf("the stage says %q", said.Unchecked)
			}
		})
	}
}

// attributesOf are the extended attributes of what a path leads to.
func attributesOf(t *testing.T, path string) []Xattr {
	t.Helper()
	x, err := pathXattrs(path).read()
	do(t, err)
	return slices.DeleteFunc(x, func(x Xattr) bool { return strings.HasPrefix(x.Name, "security.") })
}

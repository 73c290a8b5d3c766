package source

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// keepsAttributes holds a file that is a source of its own to this: what it has is
// kept as that of a file in a directory is, or said not to be.
func keepsAttributes(t *testing.T, make func(t *testing.T, path string) Source) {
	t.Helper()
	// user::rw-, user:42:rw-, group::r--, mask::rw-, other::---
	acl := []byte("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x06\x00\x2a\x00\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x06\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff")
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
	for what, at := range map[string]string{"stage": filepath.Join(dir, ".one.understudy-staged"), "export": out} {
		if got := attributesOf(t, at); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: attributes %v, want %v", what, got, want)
		}
		if info, err := os.Stat(at); err != nil || info.Mode().Perm() != 0o660 {
			t.Errorf("%s: mode %v, %v", what, info.Mode(), err)
		}
	}
}

// goesWithoutAttributes holds it to this: a stage goes without what its file system
// does not take, and says so; a strict export does not.
func goesWithoutAttributes(t *testing.T, make func(t *testing.T, path string) Source) {
	t.Helper()
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
	if first := losses.First(); len(first) != 1 || first[0].What != "attributes" {
		t.Errorf("losses %+v", first)
	}
	there, said := src.(Placed).At(filepath.Join(bare, "one")), new(Examination)
	do(t, there.Stage(WithExamination(t.Context(), said), v.last(), e))
	if !slices.ContainsFunc(said.Unchecked, func(s string) bool { return strings.Contains(s, "1 extended attributes") }) {
		t.Errorf("the stage says %q", said.Unchecked)
	}
}

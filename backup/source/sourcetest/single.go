package sourcetest

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
)

// KeepsAttributes holds a file that is a source of its own to this: what it has is
// kept as that of a file in a directory is, or said not to be.
func KeepsAttributes(t *testing.T, make func(t *testing.T, path string) source.Source) {
	t.Helper()
	// user::rw-, user:42:rw-, group::r--, mask::rw-, other::---
	acl := []byte("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x06\x00\x2a\x00\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x06\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff")
	dir := t.TempDir()
	path := filepath.Join(dir, "one")
	src, v := make(t, path), NewVault(t)
	Must(t, unix.Setxattr(path, "user.origin", []byte("a\x00b"), 0))
	before, _ := v.Backup(t, src)
	Must(t, unix.Setxattr(path, "system.posix_acl_access", acl, 0))
	Flagged(t, path, NoDump)
	var e source.Entry
	for range 2 { // the second one reads nothing
		e, _ = v.Backup(t, src)
		if !strings.Contains(FlagWarning(t, e), path+" has inode flags (chattr), which no backup keeps: no dump") {
			t.Errorf("warnings %q", e.Warnings)
		}
	}
	if source.SameStage(before, e) {
		t.Error("a stage without the ACL counts as the same one")
	}
	want := attributesOf(t, path)
	if len(want) != 2 {
		t.Fatalf("attributes %v", want)
	}
	Must(t, src.Stage(t.Context(), v.Reader(), e))
	out := filepath.Join(dir, "out")
	Must(t, source.Export(t.Context(), v.Reader(), e, out))
	for what, at := range map[string]string{"stage": filepath.Join(dir, ".one.understudy-staged"), "export": out} {
		if got := attributesOf(t, at); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: attributes %v, want %v", what, got, want)
		}
		if info, err := os.Stat(at); err != nil || info.Mode().Perm() != 0o660 {
			t.Errorf("%s: mode %v, %v", what, info.Mode(), err)
		}
	}
}

// GoesWithoutAttributes holds it to this: a stage goes without what its file system
// does not take, and says so; a strict export does not.
func GoesWithoutAttributes(t *testing.T, make func(t *testing.T, path string) source.Source) {
	t.Helper()
	path, v := filepath.Join(t.TempDir(), "one"), NewVault(t)
	src := make(t, path)
	Must(t, unix.Setxattr(path, "user.origin", []byte("o"), 0))
	e, _ := v.Backup(t, src)
	bare := filepath.Join(t.TempDir(), "ram")
	Mounting(t, "ramfs", bare, "ramfs", 0)
	if err := source.Export(t.Context(), v.Reader(), e, filepath.Join(bare, "strict")); !errors.Is(err, unix.ENOTSUP) {
		t.Errorf("strict: %v", err)
	}
	losses := new(source.Losses)
	Must(t, source.Export(source.WithLosses(t.Context(), losses), v.Reader(), e, filepath.Join(bare, "by hand")))
	if first := losses.First(); len(first) != 1 || first[0].What != "attributes" {
		t.Errorf("losses %+v", first)
	}
	there, said := src.(source.Placed).At(filepath.Join(bare, "one")), new(source.Examination)
	Must(t, there.Stage(source.WithExamination(t.Context(), said), v.Reader(), e))
	if !slices.ContainsFunc(said.Unchecked, func(s string) bool { return strings.Contains(s, "1 extended attributes") }) {
		t.Errorf("the stage says %q", said.Unchecked)
	}
}

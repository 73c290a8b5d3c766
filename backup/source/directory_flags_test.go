package source

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	appendOnly = 0x20
	noDump     = 0x40
	noAccess   = 0x80
) // flagged sets the flags of a file or folder until the end of the test.
func flagged(t *testing.T, path string, flags int) {
	t.Helper()
	flag(t, path, flags)
	t.Cleanup(func() { flag(t, path, 0) })
} // flagWarning is what a backup says of inode flags.
func flagWarning(t *testing.T, e Entry) string {
	t.Helper()
	at := slices.IndexFunc(e.Warnings, func(text string) bool { return strings.Contains(text, "(chattr)") })
	if at < 0 {
		return ""
	}
	return e.Warnings[at]
} // A backup says which entries have inode flags, which it does not keep: also when
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
	const want = `5 entries have inode flags (chattr), which no backup keeps: 1 immutable ("locked"); ` + `2 append-only ("logs/app.log", "logs/old.log"); 2 no dump (live itself, "app.db"); 1 no access times ("logs/app.log")`
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

// attributesOf are the extended attributes of what a path leads to.
func attributesOf(t *testing.T, path string) []Xattr {
	t.Helper()
	x, err := pathXattrs(path).read()
	do(t, err)
	return slices.DeleteFunc(x, func(x Xattr) bool { return strings.HasPrefix(x.Name, "security.") })
}

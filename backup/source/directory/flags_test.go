package directory

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// A backup says which entries have inode flags, which it does not keep: also when
// it does not open the files, as they have not changed.
func TestDirectorySaysWhichFlagsItDoesNotKeep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "live")
	for _, name := range []string{"locked", "logs/app.log", "logs/old.log", "plain"} {
		sourcetest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		sourcetest.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
	}
	sourcetest.Must(t, sourcetest.NewBank(t, filepath.Join(dir, "app.db"), "delete", 3).Close())
	sourcetest.Flagged(t, dir, sourcetest.NoDump)
	sourcetest.Flagged(t, filepath.Join(dir, "app.db"), sourcetest.NoDump)
	sourcetest.Flagged(t, filepath.Join(dir, "locked"), sourcetest.Immutable)
	sourcetest.Flagged(t, filepath.Join(dir, "logs/app.log"), sourcetest.AppendOnly|sourcetest.NoAccess)
	sourcetest.Flagged(t, filepath.Join(dir, "logs/old.log"), sourcetest.AppendOnly)
	d, v := newTestDirectory(t, dir), sourcetest.NewVault(t)
	const want = `5 entries have inode flags (chattr), which no backup keeps: 1 immutable ("locked"); ` +
		`2 append-only ("logs/app.log", "logs/old.log"); 2 no dump (live itself, "app.db"); 1 no access times ("logs/app.log")`
	opened := counted(d)
	for i := range 3 {
		if e, _ := v.Backup(t, d); sourcetest.FlagWarning(t, e) != want {
			t.Errorf("warnings %q\nwant %q", e.Warnings, want)
		}
		if n := opened(); i > 0 && n > 0 {
			t.Errorf("%d files that have not changed were read", n)
		}
	}
	// The backup of a version that did not look at them.
	var facts map[string]any
	sourcetest.Must(t, json.Unmarshal(v.Prev.Entry.Facts, &facts))
	delete(facts, "flags")
	raw, err := json.Marshal(facts)
	sourcetest.Must(t, err)
	v.Prev.Entry.Facts = raw
	if e, _ := v.Backup(t, d); sourcetest.FlagWarning(t, e) != want {
		t.Errorf("after a backup without: %q", e.Warnings)
	}
	sourcetest.Flag(t, filepath.Join(dir, "locked"), 0)
	if e, _ := v.Backup(t, d); strings.Contains(sourcetest.FlagWarning(t, e), "immutable") {
		t.Errorf("once it is cleared: %q", e.Warnings)
	}
}

// However many there are, and whatever else there is to say.
func TestDirectoryCountsFlags(t *testing.T) {
	dir := t.TempDir()
	for i := range 2*source.MaxWarnings + 5 {
		path := filepath.Join(dir, fmt.Sprintf("file-%02d", i))
		sourcetest.Must(t, os.WriteFile(path, nil, 0o644))
		sourcetest.Flagged(t, path, sourcetest.NoDump)
	}
	d, v := newTestDirectory(t, dir), sourcetest.NewVault(t)
	for range 2 {
		e, _ := v.Backup(t, d)
		if text := sourcetest.FlagWarning(t, e); !strings.HasPrefix(text, "45 entries have") || !strings.HasSuffix(text, `45 no dump ("file-00", "file-01", "file-02", …)`) {
			t.Errorf("warnings %q", e.Warnings)
		}
	}
}

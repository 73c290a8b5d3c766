package directory

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestDirectoryRestoresEverythingItDumped(t *testing.T) {
	folder := t.TempDir()
	live, copied := filepath.Join(folder, "live"), filepath.Join(folder, "copy")
	sourcetest.WriteOddities(t, live)
	sourcetest.WriteTree(t, filepath.Join(live, "tree"), 1, sourcetest.TreeSize{Files: 300, Bytes: 8 << 20, Large: 2})
	v := sourcetest.NewVault(t)
	e, _ := v.Backup(t, newTestDirectory(t, live))
	if len(e.Warnings) > 0 {
		t.Errorf("warnings: %v", e.Warnings)
	}
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, copied))
	sourcetest.CompareTrees(t, live, copied)
	if err := source.Export(t.Context(), v.Reader(), e, copied); err == nil {
		t.Error("an export over something was not refused")
	}
}

func TestDirectoryRestoresHoles(t *testing.T) {
	folder := t.TempDir()
	live, copied := filepath.Join(folder, "live"), filepath.Join(folder, "copy")
	sourcetest.WriteOddities(t, live)
	v := sourcetest.NewVault(t)
	e, _ := v.Backup(t, newTestDirectory(t, live))
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, copied))
	var size, disk int64
	size, disk = diskUse(t, filepath.Join(copied, "holes"))
	if disk > size/4 {
		t.Errorf("the file of %d bytes takes %d on disk", size, disk)
	}
	if f := factsOf(t, e); f.DiskBytes >= f.Bytes {
		t.Errorf("the estimate of %d bytes does not count on holes", f.DiskBytes)
	}
}

func TestDirectoryTellsFacts(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	sourcetest.Must(t, os.MkdirAll(filepath.Join(live, "a", "b"), 0o755))
	sourcetest.Must(t, os.WriteFile(filepath.Join(live, "a", "x"), make([]byte, 5000), 0o600))
	sourcetest.Must(t, os.Link(filepath.Join(live, "a", "x"), filepath.Join(live, "y")))
	sourcetest.Must(t, os.Symlink("y", filepath.Join(live, "z")))
	sourcetest.Must(t, os.Chmod(live, 0o750|os.ModeSticky))
	listen(t, filepath.Join(live, "s"))
	v := sourcetest.NewVault(t)
	d := newTestDirectory(t, live)
	e, _ := v.Backup(t, d)
	f := factsOf(t, e)
	f.Started = f.Started.UTC()
	if len(f.Parents) == 0 || f.Parents[0].Name != filepath.Base(filepath.Dir(live)) {
		t.Errorf("the folders above are %+v", f.Parents)
	}
	f.Parents = nil
	want := Facts{
		Path: live, RootMode: "1750", Files: 1, Folders: 3, Symlinks: 1, HardLinks: 1, Skipped: 1,
		Bytes: 5000, DiskBytes: f.DiskBytes, Started: f.Started, Policy: "auto", Tables: &directoryTables{}, Flags: &directoryFlags{},
	}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("facts are %+v, want %+v", f, want)
	}
	if e.Size != 5000 || e.Name != "files" || e.Kind != "directory" {
		t.Errorf("entry is %+v", e)
	}
	if !slices.Equal(e.Warnings, []string{"1 sockets were skipped"}) {
		t.Errorf("warnings are %q", e.Warnings)
	}
	if in, n := d.Space(e); in != filepath.Dir(live) || n < 8192 {
		t.Errorf("space is %d in %s", n, in)
	}
}

func TestDirectoryUnchangedGivesTheSameTreeAndNoChunks(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	sourcetest.WriteOddities(t, live)
	sourcetest.WriteTree(t, filepath.Join(live, "tree"), 2, sourcetest.TreeSize{Files: 500, Bytes: 4 << 20})
	v := sourcetest.NewVault(t)
	d := newTestDirectory(t, live)
	first, _ := v.Backup(t, d)
	reads := counted(d)
	for range 2 {
		again, stats := v.Backup(t, d)
		if !again.Root.Equal(first.Root) {
			t.Error("the tree of an unchanged directory differs")
		}
		if stats.New != 0 || stats.Chunks != 0 {
			t.Errorf("%d chunks with %d bytes were new", stats.Chunks, stats.New)
		}
		if n := reads(); n != 0 {
			t.Errorf("%d unchanged files were read", n)
		}
	}
}

func TestDirectoryUploadsWhatChanged(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	const total = 32 << 20
	files := sourcetest.WriteTree(t, live, 3, sourcetest.TreeSize{Files: 1000, Bytes: total, Large: 3})
	v := sourcetest.NewVault(t)
	d := newTestDirectory(t, live)
	v.Backup(t, d)
	changed := changePercent(t, live, files)
	reads := counted(d)
	e, stats := v.Backup(t, d)
	if n := reads(); n != 11 {
		t.Errorf("%d files were read; 11 had changed", n)
	}
	var stored int64
	for _, p := range stats.Packs {
		stored += p.Size
	}
	if stored > total*3/100 {
		t.Errorf("%d bytes were stored for %d that changed of %d", stored, changed, total)
	}
	t.Logf("changed %d, new %d, stored %d", changed, stats.New, stored)
	restored := filepath.Join(t.TempDir(), "restored")
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, restored))
	sourcetest.CompareTrees(t, live, restored)
}

// changePercent changes about one percent: a byte range of a large file, and
// ten small ones.
func changePercent(t testing.TB, dir string, files []string) (changed int) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, files[1]), os.O_WRONLY, 0)
	sourcetest.Must(t, err)
	defer f.Close()
	piece := []byte(strings.Repeat("something new, ", 300<<10/15))
	_, err = f.WriteAt(piece, 1<<20)
	sourcetest.Must(t, err)
	changed = len(piece)
	for i := range 10 {
		g, err := os.OpenFile(filepath.Join(dir, files[100+i*50]), os.O_WRONLY|os.O_APPEND, 0)
		sourcetest.Must(t, err)
		_, err = g.Write(piece[:200])
		sourcetest.Must(t, err)
		sourcetest.Must(t, g.Close())
		changed += 200
	}
	return changed
}

func TestDirectoryLeavesOutWhatIsExcluded(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	for _, p := range []string{"keep", "x.tmp", "a/y.tmp", "a/keep", "cache/1", "cache/in/2", "b/cache/3", "logs/old/4", "logs/5"} {
		sourcetest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(live, p)), 0o755))
		sourcetest.Must(t, os.WriteFile(filepath.Join(live, p), []byte(p), 0o644))
	}
	v := sourcetest.NewVault(t)
	v.Backup(t, newTestDirectory(t, live, "**/*.tmp", "cache/", "./logs/*"))
	want := []string{"d .", "d a", "f a/keep", "d b", "d b/cache", "f b/cache/3", "f keep", "d logs"}
	if got := paths(t, v); !slices.Equal(got, want) {
		t.Errorf("the tree is %q, want %q", got, want)
	}
}

func TestDirectoryRefusesBadConfiguration(t *testing.T) {
	for _, cfg := range []Config{
		{Path: "relative"},
		{Path: ""},
		{Path: "/x", Exclude: []string{"[a"}},
		{Path: "/x", Exclude: []string{""}},
		{Path: "/x", Exclude: []string{"/x/y"}},
	} {
		if _, err := New("files", cfg); err == nil || !strings.Contains(err.Error(), "files") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestDirectoryFollowsASymlinkToItself(t *testing.T) {
	folder := t.TempDir()
	live, link := filepath.Join(folder, "live"), filepath.Join(folder, "link")
	sourcetest.Must(t, os.Mkdir(live, 0o755))
	sourcetest.Must(t, os.WriteFile(filepath.Join(live, "x"), []byte("old"), 0o644))
	sourcetest.Must(t, os.Symlink("live", link))
	v := sourcetest.NewVault(t)
	d := newTestDirectory(t, link)
	sourcetest.Must(t, d.Check(t.Context()))
	e, _ := v.Backup(t, d)
	sourcetest.Must(t, os.WriteFile(filepath.Join(live, "x"), []byte("newer"), 0o644))
	sourcetest.Must(t, d.Stage(t.Context(), v.Reader(), e))
	if info, err := os.Stat(d.Staged()); err != nil || !info.IsDir() {
		t.Errorf("what is staged is not at %s: %v", d.Staged(), err)
	}
	sourcetest.Must(t, d.Swap(t.Context()))
	sourcetest.Must(t, d.Discard(t.Context()))
	if target, err := os.Readlink(link); err != nil || target != "live" {
		t.Errorf("the symlink is %q (%v)", target, err)
	}
	if data, err := os.ReadFile(filepath.Join(live, "x")); err != nil || string(data) != "old" {
		t.Errorf("the restored file holds %q (%v)", data, err)
	}
}

func TestDirectoryMovesToADamagedBackupOnlyWithAnError(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	sourcetest.WriteTree(t, live, 4, sourcetest.TreeSize{Files: 20, Bytes: 2 << 20})
	v := sourcetest.NewVault(t)
	d := newTestDirectory(t, live)
	e, _ := v.Backup(t, d)
	for digest, data := range v.Packs {
		data[len(data)/2] ^= 1
		v.Packs[digest] = data
	}
	if err := d.Stage(t.Context(), v.Reader(), e); err == nil {
		t.Error("a damaged backup was staged")
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(live), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestDirectoryHoldsTheRestoreToTheFacts(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	sourcetest.WriteTree(t, live, 5, sourcetest.TreeSize{Files: 5, Bytes: 10000})
	v := sourcetest.NewVault(t)
	d := newTestDirectory(t, live)
	e, _ := v.Backup(t, d)
	e.Facts = []byte(strings.Replace(string(e.Facts), `"files":5`, `"files":6`, 1))
	if err := d.Stage(t.Context(), v.Reader(), e); err == nil || !strings.Contains(err.Error(), "backup says") {
		t.Errorf("a file less than there should be was restored: %v", err)
	}
}

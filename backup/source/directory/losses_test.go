package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// A pack that is gone or damaged costs the files that are in it, and no other.
func TestARestoreByHandLeavesOutWhatIsDamaged(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	sourcetest.Must(t, os.MkdirAll(filepath.Join(live, "d"), 0o755))
	sourcetest.Must(t, os.WriteFile(filepath.Join(live, "d", "kept"), []byte("kept"), 0o640))
	v := sourcetest.NewVault(t)
	d := newTestDirectory(t, live)
	sourcetest.Must(t, os.WriteFile(filepath.Join(live, "d", "lost"), bytes.Repeat([]byte("lost"), 1000), 0o640))
	e, _ := v.Backup(t, d)
	broken := brokenReader{Reader: v.Reader(), size: 4000}
	to := filepath.Join(t.TempDir(), "strict")
	if err := ExportTree(t.Context(), broken, e, sourcetest.Placed(t, to)); !errors.Is(err, pack.ErrCorrupt) {
		t.Errorf("the error is %v", err)
	}
	to = filepath.Join(t.TempDir(), "restored")
	losses := new(source.Losses)
	sourcetest.Must(t, ExportTree(source.WithLosses(t.Context(), losses), broken, e, sourcetest.Placed(t, to)))
	if data, err := os.ReadFile(filepath.Join(to, "d", "kept")); string(data) != "kept" {
		t.Errorf("the file that is whole: %q, %v", data, err)
	}
	if _, err := os.Lstat(filepath.Join(to, "d", "lost")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the damaged file is there: %v", err)
	}
	if first := losses.First(); len(first) != 1 || first[0].Path != "d/lost" || first[0].What != source.LeftOut {
		t.Errorf("losses %+v", first)
	}
	other := &source.Losses{StopAtDamage: true}
	if err := ExportTree(source.WithLosses(t.Context(), other), broken, e, sourcetest.Placed(t, filepath.Join(t.TempDir(), "x"))); !errors.Is(err, pack.ErrCorrupt) {
		t.Errorf("with another copy to be had the error is %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ExportTree(source.WithLosses(cancelled, new(source.Losses)), v.Reader(), e, sourcetest.Placed(t, filepath.Join(t.TempDir(), "y"))); err == nil {
		t.Error("it went on although it was cancelled")
	}
}

// Where attributes cannot be set, whatever else there is is restored; a stage
// says so.
func TestAFileSystemWithoutAttributesLosesNothingElse(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	sourcetest.Must(t, os.Mkdir(live, 0o755))
	sourcetest.Must(t, os.WriteFile(filepath.Join(live, "x"), []byte("precious"), 0o640))
	sourcetest.Must(t, unix.Setxattr(filepath.Join(live, "x"), "user.origin", []byte("o"), 0))
	v := sourcetest.NewVault(t)
	e, _ := v.Backup(t, newTestDirectory(t, live))
	bare := filepath.Join(t.TempDir(), "ram")
	sourcetest.Mounting(t, "ramfs", bare, "ramfs", 0)
	check := func(path string) {
		t.Helper()
		if data, err := os.ReadFile(path); string(data) != "precious" {
			t.Errorf("%s holds %q: %v", path, data, err)
		}
	}
	if err := source.Export(t.Context(), v.Reader(), e, filepath.Join(bare, "strict")); !errors.Is(err, unix.ENOTSUP) {
		t.Errorf("strict: %v", err)
	}
	losses := new(source.Losses)
	sourcetest.Must(t, source.Export(source.WithLosses(t.Context(), losses), v.Reader(), e, filepath.Join(bare, "by hand")))
	check(filepath.Join(bare, "by hand", "x"))
	if first := losses.First(); len(first) != 1 || first[0].Path != "x" || first[0].What != source.OfAttributes {
		t.Errorf("losses %+v", first)
	}
	d, said := newTestDirectory(t, filepath.Join(bare, "staged")), new(source.Examination)
	sourcetest.Must(t, d.Stage(source.WithExamination(t.Context(), said), v.Reader(), e))
	check(filepath.Join(d.Staged(), "x"))
	if !slices.ContainsFunc(said.Unchecked, func(s string) bool { return strings.Contains(s, "1 extended attributes") }) {
		t.Errorf("the stage says %q", said.Unchecked)
	}
}

// Metadata of what is neither a file nor a folder.
func TestSpecialsKeepAttributesAndLinks(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	sourcetest.Must(t, os.Mkdir(live, 0o755))
	at := func(name string) string { return filepath.Join(live, name) }
	sourcetest.Must(t, unix.Mkfifo(at("fifo"), 0o640))
	sourcetest.Must(t, os.Symlink("nowhere", at("symlink")))
	sourcetest.Must(t, os.Link(at("fifo"), at("fifo2")))
	sourcetest.Must(t, os.Link(at("symlink"), at("symlink2")))
	set := os.Geteuid() == 0
	if set {
		sourcetest.Must(t, unix.Lsetxattr(at("symlink"), "trusted.note", []byte("on a link"), 0))
		sourcetest.Must(t, unix.Lsetxattr(at("fifo"), "trusted.note", []byte("on a fifo"), 0))
	}
	v := sourcetest.NewVault(t)
	e, _ := v.Backup(t, newTestDirectory(t, live))
	if f := factsOf(t, e); f.HardLinks != 2 || f.Specials != 1 || f.Symlinks != 1 {
		t.Errorf("facts %+v", f)
	}
	to := filepath.Join(t.TempDir(), "restored")
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, to))
	for _, name := range []string{"fifo", "symlink"} {
		var one, two unix.Stat_t
		sourcetest.Must(t, unix.Lstat(filepath.Join(to, name), &one))
		sourcetest.Must(t, unix.Lstat(filepath.Join(to, name+"2"), &two))
		if one.Ino != two.Ino || one.Nlink != 2 {
			t.Errorf("%s: inodes %d and %d, %d links", name, one.Ino, two.Ino, one.Nlink)
		}
		value := make([]byte, 64)
		n, err := unix.Lgetxattr(filepath.Join(to, name), "trusted.note", value)
		if set && (err != nil || !strings.HasPrefix(string(value[:n]), "on a ")) {
			t.Errorf("%s: attribute %q: %v", name, value[:max(n, 0)], err)
		}
	}
}

// brokenReader has every content of one size damaged.
type brokenReader struct {
	chunks.Reader
	size int64
}

func (r brokenReader) Open(ctx context.Context, s pack.Stream) io.ReadCloser {
	if s.Size == r.size {
		return io.NopCloser(iotest.ErrReader(fmt.Errorf("read pack: %w", pack.ErrCorrupt)))
	}
	return r.Reader.Open(ctx, s)
}

package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/reading"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func listen(t *testing.T, path string) {
	t.Helper()
	// A path to bind to is at most 107 bytes long.
	t.Chdir(filepath.Dir(path))
	l, err := net.Listen("unix", filepath.Base(path))
	sourcetest.Must(t, err)
	t.Cleanup(func() { l.Close() })
}

func diskUse(t *testing.T, path string) (size, disk int64) {
	t.Helper()
	var st syscall.Stat_t
	sourcetest.Must(t, syscall.Stat(path, &st))
	return st.Size, st.Blocks * 512
}

// changing makes a directory with a file that is written to each time it has
// been read, for so many times.
func changing(t *testing.T, times int32) (*Source, *sourcetest.Vault, string) {
	t.Helper()
	live := filepath.Join(t.TempDir(), "live")
	sourcetest.WriteTree(t, live, 6, sourcetest.TreeSize{Files: 30, Bytes: 300000})
	busy := filepath.Join(live, "busy")
	sourcetest.Must(t, os.WriteFile(busy, []byte("0"), 0o644))
	d := newTestDirectory(t, live)
	var done atomic.Int32
	d.fault = func(step, path string) error {
		if step == "check" && path == "busy" && done.Add(1) <= times {
			f, err := os.OpenFile(busy, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(f, "%d", done.Load())
			return errors.Join(err, f.Close())
		}
		return nil
	}
	return d, sourcetest.NewVault(t), busy
}

func TestDirectoryReadsAChangingFileAgain(t *testing.T) {
	d, v, _ := changing(t, 2)
	e, _ := v.Backup(t, d)
	if len(e.Warnings) > 0 || factsOf(t, e).Unstable != 0 {
		t.Errorf("a file that settled was flagged: %v", e.Warnings)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, copied))
	sourcetest.CompareTrees(t, d.cfg.Path, copied)
}

func TestDirectoryFlagsAFileThatGoesOnChanging(t *testing.T) {
	d, v, busy := changing(t, 0)
	writes := 0
	d.fault = func(step, path string) error {
		if step != "check" || path != "busy" {
			return nil
		}
		writes++
		return os.WriteFile(busy, fmt.Appendf(nil, "%d", writes), 0o644)
	}
	e, _ := v.Backup(t, d)
	if len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "busy") || factsOf(t, e).Unstable != 1 || !slices.Equal(e.Torn, []string{"busy"}) {
		t.Errorf("warnings are %q, torn is %q", e.Warnings, e.Torn)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, copied))
	got, err := os.ReadFile(filepath.Join(copied, "busy"))
	sourcetest.Must(t, err)
	if string(got) != fmt.Sprint(writes-1) {
		t.Errorf("restored %q, which is not as last read before %d", got, writes)
	}
	d.fault = noPathFault
	reads := counted(d)
	if e, _ = v.Backup(t, d); reads() != 1 || len(e.Warnings)+len(e.Torn) != 0 {
		t.Errorf("the next backup did not read just this file again: %v", e.Warnings)
	}
}

// A log is added to all the while. What was there is as it was: it is whole, up
// to a moment.
func TestDirectoryTakesALogThatGrows(t *testing.T) {
	d, v, busy := changing(t, 1000)
	e, _ := v.Backup(t, d)
	if len(e.Warnings)+len(e.Torn) > 0 || factsOf(t, e).Unstable != 0 {
		t.Errorf("a file that only grew was flagged: %q, %q", e.Warnings, e.Torn)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, copied))
	got, err := os.ReadFile(filepath.Join(copied, "busy"))
	sourcetest.Must(t, err)
	now, err := os.ReadFile(busy)
	sourcetest.Must(t, err)
	if !bytes.HasPrefix(now, got) || string(got) != "012" {
		t.Errorf("restored %q, which is not as last read of %q", got, now)
	}
	d.fault = noPathFault
	reads := counted(d)
	if v.Backup(t, d); reads() != 1 {
		t.Error("the next backup did not read the file again")
	}
}

// A file that is long, and that grows and changes, is torn.
func TestDirectoryTellsGrowingFromChanging(t *testing.T) {
	seed := maphash.MakeSeed()
	text := strings.Repeat("0123456789", 100_000)
	read := func(last *reading.Growing, text string) *reading.Growing {
		g := reading.NewGrowing(seed, last)
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{g.Watch(strings.NewReader(text))}, make([]byte, 777))
		sourcetest.Must(t, err)
		g.Whole = true
		return g
	}
	first := read(nil, text)
	second := read(first, text)
	if second.Follows(first) {
		t.Error("the first reading is not looked at")
	}
	for what, c := range map[string]struct {
		text string
		want bool
	}{
		"the same": {text, true}, "grown": {text + "more", true}, "cut": {text[1:], false},
		"changed": {"x" + text[1:], false}, "changed and grown": {text[:len(text)-1] + "xy", false},
	} {
		if got := read(second, c.text).Follows(second); got != c.want {
			t.Errorf("%s: %t", what, got)
		}
	}
}

func TestDirectoryBoundsItsWarnings(t *testing.T) {
	live := t.TempDir()
	for i := range source.MaxWarnings + 5 {
		sourcetest.Must(t, os.WriteFile(filepath.Join(live, fmt.Sprint(i)), []byte("x"), 0o644))
	}
	d := newTestDirectory(t, live)
	d.fault = func(step, path string) error {
		if step != "check" {
			return nil
		}
		return os.WriteFile(filepath.Join(live, path), fmt.Append(nil, time.Now().UnixNano()), 0o644)
	}
	e, _ := sourcetest.NewVault(t).Backup(t, d)
	if n := len(e.Warnings); n != source.MaxWarnings+1 || e.Warnings[n-1] != "and 5 more" {
		t.Errorf("%d warnings: %q", n, e.Warnings)
	}
}

func TestDirectorySkipsWhatVanishes(t *testing.T) {
	folder := t.TempDir()
	live := filepath.Join(folder, "live")
	for _, p := range []string{"a/1", "a/2", "b/3", "c"} {
		sourcetest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(live, p)), 0o755))
		sourcetest.Must(t, os.WriteFile(filepath.Join(live, p), []byte(p), 0o644))
	}
	sourcetest.Must(t, os.Link(filepath.Join(live, "a", "2"), filepath.Join(live, "d")))
	for name, gone := range map[string]map[string]string{
		"files":           {"open a/1": "a/1"},
		"a folder":        {"open b": "b"},
		"a listed folder": {"list b": "b"},
		"a first link":    {"open a/2": "a/2"}, // its second name has to be read instead
	} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "live")
			sourcetest.Must(t, os.CopyFS(copied, os.DirFS(live)))
			sourcetest.Must(t, os.Remove(filepath.Join(copied, "d")))
			sourcetest.Must(t, os.Link(filepath.Join(copied, "a", "2"), filepath.Join(copied, "d")))
			d := newTestDirectory(t, copied)
			d.fault = func(step, path string) error {
				if p := gone[step+" "+path]; p != "" {
					return os.RemoveAll(filepath.Join(copied, p))
				}
				return nil
			}
			v := sourcetest.NewVault(t)
			e, _ := v.Backup(t, d)
			if len(e.Warnings) != 0 {
				t.Errorf("warnings: %v", e.Warnings)
			}
			restored := filepath.Join(t.TempDir(), "restored")
			sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, restored))
			ignore := func(p string) bool { return name == "a listed folder" && p == "b" }
			// The folders' times changed with the removal.
			sourcetest.Must(t, os.Chtimes(filepath.Join(copied, "a"), time.Time{}, time.Unix(1, 0)))
			sourcetest.Must(t, os.Chtimes(filepath.Join(restored, "a"), time.Time{}, time.Unix(1, 0)))
			sourcetest.Must(t, os.Chtimes(copied, time.Time{}, time.Unix(1, 0)))
			sourcetest.Must(t, os.Chtimes(restored, time.Time{}, time.Unix(1, 0)))
			sourcetest.CompareTrees(t, copied, restored, ignore)
		})
	}
}

func TestDirectoryNamesWhatItCannotRead(t *testing.T) {
	for _, step := range []string{"list", "open"} {
		t.Run(step, func(t *testing.T) {
			live := filepath.Join(t.TempDir(), "live")
			sourcetest.WriteTree(t, live, 8, sourcetest.TreeSize{Files: 60, Bytes: 60000})
			sourcetest.Must(t, os.MkdirAll(filepath.Join(live, "d03", "secret"), 0o755))
			d := newTestDirectory(t, live)
			d.fault = func(s, path string) error {
				if s == step && path == "d03/secret" {
					return syscall.EACCES
				}
				return nil
			}
			_, _, err := sourcetest.NewVault(t).TryBackup(t.Context(), d)
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), filepath.Join(live, "d03", "secret")) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestDirectoryNamesTheFileThatCannotBeRead(t *testing.T) {
	d, v, busy := changing(t, 0)
	d.fault = func(step, path string) error {
		if step == "open" && path == "busy" {
			return syscall.EIO
		}
		return nil
	}
	if _, _, err := v.TryBackup(t.Context(), d); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), busy) {
		t.Errorf("the error is %v", err)
	}
}

// A server or a disk that is away deletes nothing.
func TestDirectoryTakesNoErrorForADeletion(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ESTALE, syscall.EIO, syscall.ENOTCONN, syscall.EACCES, syscall.EHOSTDOWN, syscall.ETIMEDOUT} {
		for _, at := range []string{"list .", "list d", "open d", "open d/x", "check d/x"} {
			live := t.TempDir()
			sourcetest.Must(t, os.Mkdir(filepath.Join(live, "d"), 0o755))
			sourcetest.Must(t, os.WriteFile(filepath.Join(live, "d", "x"), []byte("x"), 0o644))
			d := newTestDirectory(t, live)
			d.fault = func(step, path string) error {
				if step+" "+path == at {
					return errno
				}
				return nil
			}
			if _, _, err := sourcetest.NewVault(t).TryBackup(t.Context(), d); !errors.Is(err, errno) {
				t.Errorf("%v at %q: the error is %v", errno, at, err)
			}
		}
	}
}

// A file that another host replaced while it was read is read again.
func TestDirectoryReadsAgainWhatWasStale(t *testing.T) {
	live := t.TempDir()
	sourcetest.Must(t, os.WriteFile(filepath.Join(live, "x"), []byte("x"), 0o644))
	d, tries := newTestDirectory(t, live), 0
	d.fault = func(step, _ string) error {
		if step == "check" {
			if tries++; tries == 1 {
				return syscall.ESTALE
			}
		}
		return nil
	}
	if e, _ := sourcetest.NewVault(t).Backup(t, d); factsOf(t, e).Files != 1 || len(e.Warnings) > 0 {
		t.Errorf("dumped %+v", e)
	}
}

func TestDirectoryIsNotReplacedWhileItIsRead(t *testing.T) {
	for name, replace := range map[string]func(live string) error{
		"removed": os.RemoveAll,
		"replaced": func(live string) error {
			return errors.Join(os.Rename(live, live+".old"), os.Mkdir(live, 0o755))
		},
	} {
		live := filepath.Join(t.TempDir(), "live")
		sourcetest.Must(t, os.MkdirAll(filepath.Join(live, "d"), 0o755))
		sourcetest.Must(t, os.WriteFile(filepath.Join(live, "d", "x"), []byte("x"), 0o644))
		d := newTestDirectory(t, live)
		d.fault = func(step, path string) error {
			if step == "list" && path == "d" {
				return replace(live)
			}
			return nil
		}
		if _, _, err := sourcetest.NewVault(t).TryBackup(t.Context(), d); err == nil || !strings.Contains(err.Error(), live) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	if _, _, err := sourcetest.NewVault(t).TryBackup(t.Context(), newTestDirectory(t, filepath.Join(t.TempDir(), "none"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: the error is %v", err)
	}
}

// lostStore fails as a local store does whose folder was removed.
type lostStore struct{ sourcetest.NullWriter }

func (lostStore) Write(ctx context.Context, r io.Reader, p pack.Profile) (pack.Stream, error) {
	if p == pack.Files {
		return pack.Stream{}, &fs.PathError{Op: "open", Path: "/packs", Err: syscall.ENOENT}
	}
	return sourcetest.NullWriter{}.Write(ctx, r, p)
}

func TestDirectoryTakesNoLostStoreForAVanishedFile(t *testing.T) {
	live := t.TempDir()
	sourcetest.Must(t, os.WriteFile(filepath.Join(live, "x"), []byte("x"), 0o644))
	if _, err := newTestDirectory(t, live).dump(t.Context(), lostStore{}, nil, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
}

// A file may change after it was read and still have the same size and times:
// its time stamps are no finer than a tick of the clock.
func TestDirectoryReadsAgainWhatChangedAsTheBackupBegan(t *testing.T) {
	live := t.TempDir()
	sourcetest.Must(t, os.WriteFile(filepath.Join(live, "x"), []byte("one"), 0o644))
	sourcetest.Must(t, os.WriteFile(filepath.Join(live, "y"), []byte("one"), 0o644))
	info, err := os.Stat(filepath.Join(live, "x"))
	sourcetest.Must(t, err)
	began := info.ModTime()
	d := newTestDirectory(t, live)
	d.cfg.Now = func() time.Time { return began }
	v := sourcetest.NewVault(t)
	v.Backup(t, d)
	reads := counted(d)
	d.cfg.Now = sourcetest.Stillness
	v.Backup(t, d)
	if n := reads(); n != 2 {
		t.Errorf("%d files were read; both changed as the first backup began", n)
	}
	v.Backup(t, d)
	if n := reads(); n != 0 {
		t.Errorf("%d files were read; none changed", n)
	}
}

func TestDirectorySeesEachKindOfChange(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"content, with the old time": func(p string) error {
			info, err := os.Stat(p)
			return errors.Join(err, os.WriteFile(p, []byte("two"), 0o644), os.Chtimes(p, time.Time{}, info.ModTime()))
		},
		"another file of that name": func(p string) error {
			return errors.Join(os.WriteFile(p+"~", []byte("two"), 0o644), os.Rename(p+"~", p))
		},
		"mode": func(p string) error { return os.Chmod(p, 0o600) },
		"kind": func(p string) error { return errors.Join(os.Remove(p), os.Symlink("y", p)) },
		"gone": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			live, copied := filepath.Join(folder, "live"), filepath.Join(folder, "copy")
			sourcetest.Must(t, os.Mkdir(live, 0o755))
			sourcetest.Must(t, os.WriteFile(filepath.Join(live, "x"), []byte("one"), 0o644))
			sourcetest.Must(t, os.WriteFile(filepath.Join(live, "y"), []byte("one"), 0o644))
			v, d := sourcetest.NewVault(t), newTestDirectory(t, live)
			v.Backup(t, d)
			sourcetest.Must(t, change(filepath.Join(live, "x")))
			e, _ := v.Backup(t, d)
			sourcetest.Must(t, source.Export(t.Context(), v.Reader(), e, copied))
			sourcetest.CompareTrees(t, live, copied)
		})
	}
}

func TestDirectoryReadsEverythingWhenThePreviousTreeIsLost(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	sourcetest.WriteTree(t, live, 9, sourcetest.TreeSize{Files: 20, Bytes: 20000})
	v, d := sourcetest.NewVault(t), newTestDirectory(t, live)
	first, _ := v.Backup(t, d)
	v.Prev.Entry.Root.Chunks[0][0] ^= 1
	reads := counted(d)
	e, _ := v.Backup(t, d)
	if n := reads(); n != 20 {
		t.Errorf("%d files were read of 20", n)
	}
	if len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "previous list of files") {
		t.Errorf("warnings are %q", e.Warnings)
	}
	if !e.Root.Equal(first.Root) && len(first.Root.Chunks) != len(e.Root.Chunks) {
		t.Error("the tree differs")
	}
}

// openFiles counts this process's file descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	sourcetest.Must(t, err)
	return len(fds)
}

func TestDirectoryLeavesNothingBehindWhenItIsStopped(t *testing.T) {
	folder := t.TempDir()
	live := filepath.Join(folder, "live")
	sourcetest.WriteTree(t, live, 10, sourcetest.TreeSize{Files: 2000, Bytes: 200000})
	sourcetest.WriteOddities(t, filepath.Join(live, "d06", "odd"))
	v, d := sourcetest.NewVault(t), newTestDirectory(t, live)
	e, _ := v.Backup(t, d)
	open := openFiles(t)
	leaks := goleak.IgnoreCurrent()

	ctx, cancel := context.WithCancel(t.Context())
	d.fault = func(step, path string) error {
		if step == "open" && strings.HasPrefix(path, "d03") {
			cancel()
		}
		return nil
	}
	if _, err := d.dump(ctx, sourcetest.NullWriter{}, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled dump: %v", err)
	}
	d.fault = func(step, path string) error {
		if step == "open" && strings.HasPrefix(path, "d03") {
			return syscall.EIO
		}
		return nil
	}
	if _, err := d.dump(t.Context(), sourcetest.NullWriter{}, nil, nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("a failed dump: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if err := d.stage(ctx, v.Reader(), e); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled stage: %v", err)
	}
	goleak.VerifyNone(t, leaks)
	if n := openFiles(t); n != open {
		t.Errorf("%d files are open, %d were before", n, open)
	}
	if left, err := filepath.Glob(filepath.Join(folder, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestDirectoryFirstRestoreAndItsUndoing(t *testing.T) {
	folder := t.TempDir()
	live, other := filepath.Join(folder, "live"), filepath.Join(folder, "other")
	sourcetest.WriteOddities(t, live)
	v := sourcetest.NewVault(t)
	e, _ := v.Backup(t, newTestDirectory(t, live))
	d := newTestDirectory(t, other)
	for range 2 {
		sourcetest.Must(t, d.Stage(t.Context(), v.Reader(), e))
		sourcetest.Must(t, d.Swap(t.Context()))
		sourcetest.CompareTrees(t, live, other)
		sourcetest.Must(t, d.SwapBack(t.Context()))
		if _, err := os.Lstat(other); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the target is still there: %v", err)
		}
	}
	sourcetest.Must(t, d.Stage(t.Context(), v.Reader(), e))
	sourcetest.Must(t, d.Swap(t.Context()))
	sourcetest.Must(t, d.Discard(t.Context()))
	sourcetest.CompareTrees(t, live, other)
	if left, err := filepath.Glob(filepath.Join(folder, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

package directory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/xattr"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// mutator changes a tree at random, in all the ways that a tree can change.
type mutator struct {
	t    *testing.T
	root string
	rand *rand.Rand
}

// names are few, so that things of all kinds follow each other under one.
var mutantNames = []string{"a", "a!", "b", "c\n", "d\xff", "e"}

func (m *mutator) path() string {
	p := m.root
	for range 1 + m.rand.IntN(3) {
		p = filepath.Join(p, mutantNames[m.rand.IntN(len(mutantNames))])
	}
	return p
}

// existing gives a random path below the root that exists; "" for none.
func (m *mutator) existing(want func(os.FileMode) bool) string {
	var all []string
	sourcetest.Must(m.t, filepath.WalkDir(m.root, func(p string, e os.DirEntry, err error) error {
		if err == nil && p != m.root && want(e.Type()) {
			all = append(all, p)
		}
		return err
	}))
	if len(all) == 0 {
		return ""
	}
	return all[m.rand.IntN(len(all))]
}

func anything(os.FileMode) bool          { return true }
func regular(mode os.FileMode) bool      { return mode.IsRegular() }
func fileOrFolder(mode os.FileMode) bool { return mode.IsRegular() || mode.IsDir() }
func (m *mutator) content() []byte       { return fmt.Appendf(nil, "content %d", m.rand.Uint64()) }
func (m *mutator) mode() os.FileMode {
	return []os.FileMode{0o600, 0o644, 0o400, 0o755 | os.ModeSetuid}[m.rand.IntN(4)]
}
func (m *mutator) dirMode() os.FileMode {
	return []os.FileMode{0o700, 0o755, 0o500, 0o777 | os.ModeSticky}[m.rand.IntN(4)]
}

// allow ignores what cannot be done just here, as when a parent is a file.
func (m *mutator) allow(err error) {
	for _, expected := range []error{syscall.ENOTDIR, syscall.ENOENT, syscall.EEXIST, syscall.EISDIR, syscall.ENOTEMPTY, syscall.EINVAL, syscall.ELOOP, syscall.ENXIO, syscall.EACCES} {
		if errors.Is(err, expected) {
			return
		}
	}
	sourcetest.Must(m.t, err)
}

// step makes one change.
func (m *mutator) step() {
	switch m.rand.IntN(13) {
	case 0, 1:
		p := m.path()
		if info, err := os.Lstat(p); err == nil && !info.Mode().IsRegular() {
			return // neither through a link nor into a fifo
		}
		m.allow(os.WriteFile(p, m.content(), 0o644))
	case 2, 3:
		m.allow(os.MkdirAll(m.path(), 0o755))
	case 4:
		if p := m.existing(anything); p != "" && m.rand.IntN(2) == 0 {
			m.allow(os.RemoveAll(p))
		}
	case 5:
		m.allow(os.Symlink(fmt.Sprint("to ", m.rand.IntN(3)), m.path()))
	case 6:
		m.allow(syscall.Mkfifo(m.path(), 0o640))
	case 7, 8:
		if from := m.existing(regular); from != "" {
			m.allow(os.Link(from, m.path()))
		}
	case 9:
		if from := m.existing(anything); from != "" {
			m.allow(os.Rename(from, m.path()))
		}
	default:
		m.touch()
	}
}

// touch changes metadata.
func (m *mutator) touch() {
	p := m.existing(fileOrFolder)
	if p == "" {
		return
	}
	info, err := os.Lstat(p)
	sourcetest.Must(m.t, err)
	switch m.rand.IntN(5) {
	case 0:
		mode := m.mode()
		if info.IsDir() {
			mode = m.dirMode()
		}
		sourcetest.Must(m.t, os.Chmod(p, mode))
	case 1:
		sourcetest.Must(m.t, os.Chtimes(p, time.Time{}, time.Unix(m.rand.Int64N(1e9), m.rand.Int64N(1e9))))
	case 2:
		m.allow(xattr.Set(p, "user.understudy", m.content()))
	case 3:
		_ = xattr.Remove(p, "user.understudy") // there may be none
	case 4:
		if os.Geteuid() == 0 {
			sourcetest.Must(m.t, os.Lchown(p, 1000+m.rand.IntN(3), 1000+m.rand.IntN(3)))
		}
	}
}

// A stage that was brought forward over many generations of a tree is at each
// of them what a fresh restore would be, byte for byte.
func TestDirectoryBringsARandomTreeForward(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			t.Cleanup(func() { sourcetest.Must(t, openUp(root)) }) // read-only folders and all
			live, target := filepath.Join(root, "live"), filepath.Join(root, "target")
			sourcetest.Must(t, os.Mkdir(live, 0o755))
			m := &mutator{t: t, root: live, rand: rand.New(rand.NewPCG(seed, 9))}
			v, from, to := sourcetest.NewVault(t), newTestDirectory(t, live), newTestDirectory(t, target)
			var last source.Entry
			for generation := range 25 {
				for range 1 + m.rand.IntN(12) {
					m.step()
				}
				e, _ := v.Backup(t, from)
				if generation == 0 {
					sourcetest.Must(t, to.Stage(t.Context(), v.Reader(), e))
				} else {
					sourcetest.Must(t, to.Advance(t.Context(), v.Reader(), last, e))
				}
				last = e
				sourcetest.CompareTrees(t, live, to.Staged())
				if t.Failed() {
					t.Fatalf("in generation %d", generation)
				}
			}
			sourcetest.Must(t, to.Swap(t.Context()))
			sourcetest.Must(t, to.Discard(t.Context()))
			sourcetest.MustSweep(t, to)
			sourcetest.CompareTrees(t, live, target)
			if left := besideTarget(t, target, "live"); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// besideTarget lists what is in the target's folder beside it.
func besideTarget(t *testing.T, target string, but ...string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(target))
	sourcetest.Must(t, err)
	for _, e := range entries {
		if e.Name() != filepath.Base(target) && !slices.Contains(but, e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestDirectoryBringsOdditiesForward(t *testing.T) {
	root := t.TempDir()
	live, plain, target := filepath.Join(root, "live"), filepath.Join(root, "plain"), filepath.Join(root, "target")
	sourcetest.WriteOddities(t, live)
	sourcetest.WriteTree(t, plain, 8, sourcetest.TreeSize{Files: 60, Bytes: 200000})
	v, to := sourcetest.NewVault(t), newTestDirectory(t, target)
	odd, _ := v.Backup(t, newTestDirectory(t, live))
	sourcetest.Must(t, to.Stage(t.Context(), v.Reader(), odd))
	tree, _ := v.Backup(t, newTestDirectory(t, plain))
	sourcetest.Must(t, to.Advance(t.Context(), v.Reader(), odd, tree))
	sourcetest.CompareTrees(t, plain, to.Staged())
	odd, _ = v.Backup(t, newTestDirectory(t, live))
	sourcetest.Must(t, to.Advance(t.Context(), v.Reader(), tree, odd))
	sourcetest.CompareTrees(t, live, to.Staged())
}

// countedReader counts the streams that are read, but for lists of files.
type countedReader struct {
	*pack.Reader
	list    pack.Stream
	streams atomic.Int32
}

func (r *countedReader) Open(ctx context.Context, s pack.Stream) io.ReadCloser {
	if !s.Equal(r.list) {
		r.streams.Add(1)
	}
	return r.Reader.Open(ctx, s)
}

func TestDirectoryWritesOnlyWhatChanged(t *testing.T) {
	root := t.TempDir()
	live, target := filepath.Join(root, "live"), filepath.Join(root, "target")
	files := sourcetest.WriteTree(t, live, 8, sourcetest.TreeSize{Files: 600, Bytes: 600 << 10})
	v, to := sourcetest.NewVault(t), newTestDirectory(t, target)
	from := newTestDirectory(t, live)
	first, _ := v.Backup(t, from)
	sourcetest.Must(t, to.Stage(t.Context(), v.Reader(), first))
	inode := func(name string) (st syscall.Stat_t) {
		t.Helper()
		sourcetest.Must(t, syscall.Stat(filepath.Join(to.Staged(), name), &st))
		return st
	}
	kept := inode(files[7])
	for _, name := range files[:3] {
		sourcetest.Must(t, os.WriteFile(filepath.Join(live, name), []byte("changed"), 0o644))
	}
	sourcetest.Must(t, os.Chmod(filepath.Join(live, files[4]), 0o640))
	sourcetest.Must(t, os.Remove(filepath.Join(live, files[5])))
	second, _ := v.Backup(t, from)
	r := &countedReader{Reader: v.Reader(), list: second.Root}
	sourcetest.Must(t, to.advance(t.Context(), r, second))
	if n := r.streams.Load(); n != 3 {
		t.Errorf("%d files were read from the backup; 3 changed", n)
	}
	sourcetest.CompareTrees(t, live, to.Staged())
	if now := inode(files[7]); now.Ino != kept.Ino || now.Ctim != kept.Ctim {
		t.Error("a file that did not change was touched")
	}
}

// A change of the stage that fails before it has begun, as for a pack that is
// missing, leaves it as it was, fingerprint included; one that is cut off later leaves
// no stage. In both cases the next one is built.
func TestDirectoryAdvanceStoppedAnywhere(t *testing.T) {
	root := t.TempDir()
	older, newer := filepath.Join(root, "older"), filepath.Join(root, "newer")
	sourcetest.WriteOddities(t, older)
	sourcetest.WriteTree(t, newer, 8, sourcetest.TreeSize{Files: 20, Bytes: 20000})
	v := sourcetest.NewVault(t)
	a, _ := v.Backup(t, newTestDirectory(t, older))
	readA := v.Reader()
	b, _ := v.Backup(t, newTestDirectory(t, newer))
	readB := v.Reader()
	for n := 0; ; n++ {
		to := newTestDirectory(t, filepath.Join(t.TempDir(), "target"))
		sourcetest.Must(t, to.Stage(t.Context(), readA, a))
		before, err := to.Fingerprint(t.Context())
		sourcetest.Must(t, err)
		steps, where := 0, ""
		to.SwapFault = func(step string) error {
			if steps++; steps > n {
				where = step
				return errStop
			}
			return nil
		}
		err = to.Advance(t.Context(), readB, a, b)
		to = newTestDirectory(t, to.cfg.Path) // a new process
		if err == nil {
			sourcetest.CompareTrees(t, newer, to.Staged())
			if n == 0 {
				t.Error("no steps")
			}
			return
		}
		if !errors.Is(err, errStop) {
			t.Fatal(err)
		}
		after, err := to.Fingerprint(t.Context())
		sourcetest.Must(t, err)
		if after == before {
			sourcetest.CompareTrees(t, older, to.Staged())
			sourcetest.Must(t, to.Advance(t.Context(), readB, a, b))
		} else {
			sourcetest.Must(t, to.Stage(t.Context(), readB, b))
		}
		sourcetest.CompareTrees(t, newer, to.Staged())
		if t.Failed() {
			t.Fatalf("stopped before step %d, %s", n, where)
		}
		sourcetest.Must(t, to.SwapBack(t.Context()))
		sourcetest.MustSweep(t, to)
		if left := besideTarget(t, to.cfg.Path); len(left) > 0 {
			t.Fatalf("stopped before step %d, %s: left %q", n, where, left)
		}
	}
}

func TestDirectoryAdvanceThatCannotReadKeepsTheStage(t *testing.T) {
	root := t.TempDir()
	live := filepath.Join(root, "live")
	files := sourcetest.WriteTree(t, live, 8, sourcetest.TreeSize{Files: 20, Bytes: 20000})
	v := sourcetest.NewVault(t)
	from, to := newTestDirectory(t, live), newTestDirectory(t, filepath.Join(root, "target"))
	first, _ := v.Backup(t, from)
	sourcetest.Must(t, to.Stage(t.Context(), v.Reader(), first))
	before, err := to.Fingerprint(t.Context())
	sourcetest.Must(t, err)
	sourcetest.Must(t, os.WriteFile(filepath.Join(live, files[0]), []byte(strings.Repeat("changed", 100)), 0o644))
	known := make(map[pack.Digest]bool)
	for d := range v.Packs {
		known[d] = true
	}
	second, stats := v.Backup(t, from)
	for _, info := range stats.Packs {
		if !info.Meta && !known[info.Digest] {
			delete(v.Packs, info.Digest)
		}
	}
	r := pack.NewReader(sourcetest.TestCluster, v.Keys, v.Index, v)
	if err := to.Advance(t.Context(), r, first, second); err == nil {
		t.Fatal("no error")
	}
	if after, err := to.Fingerprint(t.Context()); err != nil || after != before {
		t.Errorf("the fingerprint changed: %v", err)
	}
	if left := besideTarget(t, to.cfg.Path, "live"); len(left) != 3 {
		t.Errorf("beside the target: %q; want the stage, its list and its marks", left)
	}
}

package restore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
)

// nestedApp is an application that keeps its database, and a folder that is a
// source of its own, within the folder of its files.
type nestedApp struct {
	root string
	app  // its dir is the inner folder
}

func newNestedApp(t *testing.T) nestedApp {
	t.Helper()
	root := filepath.Join(t.TempDir(), "data")
	return nestedApp{root: root, app: app{dir: filepath.Join(root, "in", "uploads"), db: filepath.Join(root, "db.sqlite3")}}
}

// fill makes the state.
func (n nestedApp) fill(t *testing.T, value string) {
	t.Helper()
	n.sources(t) // sets how this process locks databases
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.root, "key.pem"), []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
	n.set(t, value)
}

func (n nestedApp) mustHold(t *testing.T, value string) {
	t.Helper()
	n.mustBe(t, value)
	key, err := os.ReadFile(filepath.Join(n.root, "key.pem"))
	if err != nil || string(key) != value {
		t.Errorf("the key is %q, %v; want %q", key, err, value)
	}
}

// sources are in the order that suits a swap the least.
func (n nestedApp) sources(t *testing.T) []source.Source {
	t.Helper()
	files, err := directory.New("files", directory.Config{Path: n.root})
	if err != nil {
		t.Fatal(err)
	}
	all := append(n.app.sources(t), files)
	source.Nest(all)
	return all
}

func (n nestedApp) swapper(t *testing.T, dir string) *Swapper {
	t.Helper()
	s, err := NewSwapper(dir, n.sources(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// backup backs the application up, and checks that nothing is in it twice.
func (n nestedApp) backup(t *testing.T, cl *cluster) (*backup.Manifest, *pack.Reader) {
	t.Helper()
	_, m, err := cl.repo.Write(t.Context(), backup.Order{
		Epoch: 1, Sequence: 1, Trigger: backup.First, Instance: "a", Version: "test",
		Keys: cl.keys, Sources: n.sources(t), Now: func() time.Time { return cl.now }, Random: cl.random,
	})
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := cl.repo.Open(t.Context(), m, cl.repo.BucketPacks())
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "out")
	if err := Export(t.Context(), r, m, to, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"db.sqlite3", "db.sqlite3-wal", "in/uploads"} {
		if _, err := os.Lstat(filepath.Join(to, "files", name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the folder's backup has %s too: %v", name, err)
		}
	}
	return m, r
}

// Sources that lie in another one are swapped with it, all or none, wherever a
// crash cuts the swap off, and onto a host that has nothing as well.
func TestSourcesInOneAnotherAreSwappedTogether(t *testing.T) {
	cl := newCluster(t)
	active := newNestedApp(t)
	active.fill(t, "new")
	m, r := active.backup(t, cl)
	for _, blank := range []bool{false, true} {
		for cut := 0; ; cut++ {
			n, journal := newNestedApp(t), t.TempDir()
			if !blank {
				n.fill(t, "old")
			}
			s := n.swapper(t, journal)
			if err := s.Stage(t.Context(), r, m, nil); err != nil {
				t.Fatal(err)
			}
			steps := 0
			s.Step = func(string) {
				if steps++; steps == cut {
					panic(errCut)
				}
			}
			whole := survives(func() error { return s.Swap(t.Context()) })
			again := n.swapper(t, journal)
			if cut%2 == 0 && !blank {
				mustDo(t, again.Rollback)
				n.mustHold(t, "old")
				mustDo(t, func(ctx context.Context) error { return again.Stage(ctx, r, m, nil) })
			}
			mustDo(t, again.Swap)
			mustDo(t, again.Finish)
			n.mustHold(t, "new")
			left, err := filepath.Glob(filepath.Join(n.root, ".db.*understudy-[sr]*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			if whole {
				break
			}
		}
	}
}

var errCut = errors.New("cut off")

// survives runs do, and reports whether it came to its end.
func survives(do func() error) (whole bool) {
	defer func() {
		if r := recover(); r != nil && r != any(errCut) {
			panic(r)
		}
	}()
	return do() == nil
}

func mustDo(t *testing.T, do func(context.Context) error) {
	t.Helper()
	if err := do(t.Context()); err != nil {
		t.Fatal(err)
	}
}

package restore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
)

// linkedApp is an application whose state is reached through links, which can
// be made to lead to another disk.
type linkedApp struct {
	app          // by way of the links
	disks [2]app // the real ones
}

func newLinkedApp(t *testing.T) linkedApp {
	t.Helper()
	l := linkedApp{app: newApp(t), disks: [2]app{newApp(t), newApp(t)}}
	if err := os.Remove(l.dir); err != nil {
		t.Fatal(err)
	}
	for i, value := range []string{"first", "second"} {
		l.disks[i].set(t, value)
	}
	l.follow(t, 0)
	return l
}

func (l linkedApp) follow(t *testing.T, disk int) {
	t.Helper()
	for from, to := range map[string]string{l.dir: l.disks[disk].dir, l.db: l.disks[disk].db} {
		_ = os.Remove(from)
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
}

// clean fails where anything but the state lies on a disk.
func (l linkedApp) clean(t *testing.T) {
	t.Helper()
	for _, disk := range l.disks {
		left, err := filepath.Glob(filepath.Join(filepath.Dir(disk.db), ".*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	if _, err := os.Readlink(l.db); err != nil {
		t.Errorf("the link was replaced: %v", err)
	}
}

// What began at one end of a link ends there, though the link leads elsewhere by
// then; a stage that lies where the link has led is none, and is dropped.
func TestASwapEndsWhereItBegan(t *testing.T) {
	cl := newCluster(t)
	active := newApp(t)
	active.set(t, "new")
	ref := cl.writeApp(t, active)
	m, err := cl.repo.Load(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := cl.repo.Open(t.Context(), m, cl.repo.BucketPacks())
	if err != nil {
		t.Fatal(err)
	}
	for name, story := range map[string]func(*testing.T, linkedApp, *Swapper){
		"rolled back":           func(t *testing.T, l linkedApp, s *Swapper) { swapAndTurn(t, l, s, (*Swapper).Rollback, "first") },
		"finished":              func(t *testing.T, l linkedApp, s *Swapper) { swapAndTurn(t, l, s, (*Swapper).Finish, "new") },
		"staged where it leads": func(t *testing.T, l linkedApp, s *Swapper) { turnBeforeSwap(t, l, s, r, m, true) },
		"not swapped":           func(t *testing.T, l linkedApp, s *Swapper) { turnBeforeSwap(t, l, s, r, m, false) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLinkedApp(t)
			s, err := NewSwapper(t.TempDir(), l.sources(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Stage(t.Context(), r, m, nil); err != nil {
				t.Fatal(err)
			}
			story(t, l, s)
			again, err := NewSwapper(s.journal.dir, l.sources(t))
			if err != nil {
				t.Fatal(err)
			}
			if left, err := again.Sweep(t.Context()); err != nil || len(left) > 0 {
				t.Errorf("after a sweep %v is left: %v", left, err)
			}
			l.clean(t)
		})
	}
}

// end ends a swap.
type end func(*Swapper, context.Context) error

// swapAndTurn swaps, has the links lead elsewhere, and ends it in a new process.
func swapAndTurn(t *testing.T, l linkedApp, s *Swapper, end end, want string) {
	t.Helper()
	if err := s.Swap(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.follow(t, 1)
	again, err := NewSwapper(s.journal.dir, l.sources(t))
	if err == nil {
		err = end(again, t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	l.disks[0].mustBe(t, want)
	l.mustBe(t, "second")
}

// turnBeforeSwap has the links lead elsewhere before the swap.
func turnBeforeSwap(t *testing.T, l linkedApp, s *Swapper, r *pack.Reader, m *backup.Manifest, stage bool) {
	t.Helper()
	l.follow(t, 1)
	if stage {
		if ready, err := s.Ready(t.Context(), m); ready || err != nil {
			t.Errorf("ready: %v, %v", ready, err)
		}
		err := errors.Join(s.Stage(t.Context(), r, m, nil), s.Swap(t.Context()), s.Finish(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		l.mustBe(t, "new")
	} else {
		if err := s.Swap(t.Context()); !errors.Is(err, ErrTouched) {
			t.Errorf("swapped where nothing is staged: %v", err)
		}
		l.mustBe(t, "second")
	}
	l.disks[0].mustBe(t, "first")
}

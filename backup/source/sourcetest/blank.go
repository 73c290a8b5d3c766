package sourcetest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
)

// Blank is a source on a host where the application never ran, and its like on
// the host that dumps.
type Blank struct {
	dumped, here source.Source
	target       string
}

// NewBlank makes sources with a name below srv/app, which is the application's own
// folder where they are dumped, and missing here. fill makes the state there.
func NewBlank(t *testing.T, name string, fill func(path string), make func(path string) source.Source) Blank {
	t.Helper()
	a, b := t.TempDir(), t.TempDir()
	app := filepath.Join(a, "srv", "app")
	Must(t, os.MkdirAll(app, 0o755))
	fill(filepath.Join(app, name))
	if os.Geteuid() == 0 {
		Must(t, os.Chown(app, 1234, 5678))
	}
	Must(t, unix.Chmod(app, 0o2750))
	at := func(root string) string { return filepath.Join(root, "srv", "app", name) }
	return Blank{make(at(a)), make(at(b)), at(b)}
}

// GetsTheFoldersAbove holds a source to this: a blank host gets the folders above it.
func GetsTheFoldersAbove(t *testing.T, it Blank) {
	t.Helper()
	v := NewVault(t)
	e, _ := v.Backup(t, it.dumped)
	Must(t, source.CheckRestore(t.Context(), it.here))
	if err := it.here.Check(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it could be dumped here: %v", err)
	}
	Must(t, it.here.SwapBack(t.Context())) // before there is anything
	Must(t, it.here.Discard(t.Context()))
	Must(t, it.here.Stage(t.Context(), v.Reader(), e))
	app := filepath.Dir(it.target)
	var st unix.Stat_t
	Must(t, unix.Stat(app, &st))
	if st.Mode&0o7777 != 0o2750 || os.Geteuid() == 0 && (st.Uid != 1234 || st.Gid != 5678) {
		t.Errorf("the folder has mode %o, owner %d:%d", st.Mode, st.Uid, st.Gid)
	}
	Must(t, it.here.Swap(t.Context()))
	Must(t, it.here.SwapBack(t.Context()))
	if _, err := os.Lstat(it.target); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the rollback it is there: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(app, "[^.]*")) // what was dropped is hidden, and deleted later
	if len(left) > 0 || err != nil {
		t.Errorf("after the rollback %v is left: %v", left, err)
	}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return it.here.Stage(ctx, v.Reader(), e) }, it.here.Swap, it.here.Discard, it.here.Check,
	} {
		Must(t, step(t.Context()))
	}
}

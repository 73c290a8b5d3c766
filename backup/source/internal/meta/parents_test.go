package meta

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// A backup of an earlier version does not describe the folders above.
func TestABlankHostNeedsNoModelsOfTheFoldersAbove(t *testing.T) {
	target := filepath.Join(t.TempDir(), "a", "b", "x")
	makeAt := func(path string, models []Parent) error {
		p, err := fsx.Resolve(path)
		if err != nil {
			return err
		}
		defer func() { p.Close() }()
		return MakeParents(&p, models)
	}
	mustMeta(t, makeAt(target, nil))
	mustMeta(t, makeAt(target, []Parent{{Name: "b", Mode: 0o700}})) // which is there
	var st unix.Stat_t
	mustMeta(t, unix.Stat(filepath.Dir(target), &st))
	if st.Mode&0o7777 != 0o755 || int(st.Uid) != os.Geteuid() {
		t.Errorf("mode %o, owner %d", st.Mode, st.Uid)
	}
	mustMeta(t, os.WriteFile(target, nil, 0o600))
	if err := makeAt(filepath.Join(target, "y", "z"), nil); err == nil {
		t.Error("a folder was made in a file")
	}
}

func mustMeta(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

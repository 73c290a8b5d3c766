package command

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestNobodyElseReachesWhatACommandSourceHas: all that lies on disk for it lies in its
// scratch folder, which is its user's alone after each step, also where the folder was
// there before and open to everybody. The state itself is written by the command.
func TestNobodyElseReachesWhatACommandSourceHas(t *testing.T) {
	dir := t.TempDir()
	state, scratch := filepath.Join(dir, "state"), filepath.Join(dir, "scratch")
	sourcetest.Must(t, os.WriteFile(state, []byte("new"), 0o600))
	sourcetest.Must(t, os.Mkdir(scratch, 0o700))
	sourcetest.Must(t, os.Chmod(scratch, 0o777))
	s := sourcetest.NewVault(t)
	c := newFileCommand(t, state, scratch)
	e, _ := s.Backup(t, c)
	mine := func(after string) {
		t.Helper()
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || path == dir || path == state {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if info.Mode().Perm()&0o077 != 0 || !info.IsDir() && !info.Mode().IsRegular() {
				t.Errorf("%s: %s is %v", after, path, info.Mode())
			}
			return nil
		})
		sourcetest.Must(t, err)
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"stage", func() error { return c.Stage(t.Context(), s.Reader(), e) }},
		{"swap", func() error { return c.Swap(t.Context()) }},
		{"rollback", func() error { return c.SwapBack(t.Context()) }},
		{"stage again", func() error { return c.Stage(t.Context(), s.Reader(), e) }},
		{"swap again", func() error { return c.Swap(t.Context()) }},
		{"discard", func() error { return c.Discard(t.Context()) }},
		{"export", func() error { return source.Export(t.Context(), s.Reader(), e, filepath.Join(dir, "export")) }},
	} {
		sourcetest.Must(t, step.do())
		mine(step.name)
	}
}

package file

import (
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// A write to a page of a mapped file that is dirty already sets no time.
func TestAFileSourceSeesWritesToAMapping(t *testing.T) {
	for name, dir := range map[string]string{"disk": t.TempDir(), "memory": sourcetest.MemoryDir(t)} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "map")
			m := sourcetest.Mapped(t, path)
			src, err := New("one", Config{Path: path, Now: sourcetest.Stillness})
			sourcetest.Must(t, err)
			v := sourcetest.NewVault(t)
			for _, text := range []string{"AAAA", "BBBB", "CCCC"} {
				copy(m, text)
				v.Backup(t, src)
				to := filepath.Join(sourcetest.MemoryDir(t), "out")
				sourcetest.Must(t, source.Export(t.Context(), v.Reader(), v.Prev.Entry, to))
				if got := sourcetest.ReadText(t, to)[:4]; got != text {
					t.Errorf("the backup has %q of %q", got, text)
				}
			}
		})
	}
}

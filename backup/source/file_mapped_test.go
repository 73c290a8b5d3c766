package source

import (
	"path/filepath"
	"testing"
)

// A write to a page of a mapped file that is dirty already sets no time.
func TestAFileSourceSeesWritesToAMapping(t *testing.T) {
	for name, dir := range map[string]string{"disk": t.TempDir(), "memory": memoryFolder(t)} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "map")
			m := mapped(t, path)
			src, err := NewFile("one", FileConfig{Path: path, Now: stillness})
			do(t, err)
			v := newVault(t)
			for _, text := range []string{"AAAA", "BBBB", "CCCC"} {
				copy(m, text)
				v.mustBackup(src)
				to := filepath.Join(memoryFolder(t), "out")
				do(t, Export(t.Context(), v.last(), v.prev.Entry, to))
				if got := readText(t, to)[:4]; got != text {
					t.Errorf("the backup has %q of %q", got, text)
				}
			}
		})
	}
}

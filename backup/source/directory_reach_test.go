package source

import (
	"os"
	"path/filepath"
	"testing"
)

func reachedDirectory(t *testing.T, path string) reached {
	src := newTestDirectory(t, path)
	return reached{
		src: src, fault: &src.swapFault,
		write: func(text string) {
			must(t, os.MkdirAll(path, 0o755))
			must(t, os.WriteFile(filepath.Join(path, "what"), []byte(text), 0o600))
		},
		read: func(at string) string {
			if at == "" {
				at = path
			}
			return readText(t, filepath.Join(at, "what"))
		},
	}
}

func reachedMount(t *testing.T) reached {
	d := mount(t)
	r := reachedDirectory(t, d.cfg.Path)
	r.src, r.fault = d, &d.swapFault
	return r
}

func TestHowFarASwapHasComeIsSeen(t *testing.T) {
	t.Run("directory", func(t *testing.T) { reachSeen(t, reachedFolder) })
	t.Run("mount point", func(t *testing.T) { reachSeen(t, reachedMount) })
}

func TestNothingIsKeptOfWhatWasNotThere(t *testing.T) { keepsNothing(t, reachedFolder(t)) }

func reachedFolder(t *testing.T) reached {
	return reachedDirectory(t, filepath.Join(t.TempDir(), "files"))
}

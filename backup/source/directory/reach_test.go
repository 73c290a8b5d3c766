package directory

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func reachedDirectory(t *testing.T, path string) sourcetest.Reached {
	src := newTestDirectory(t, path)
	return sourcetest.Reached{
		Src: src, Fault: &src.SwapFault,
		Write: func(text string) {
			sourcetest.Must(t, os.MkdirAll(path, 0o755))
			sourcetest.Must(t, os.WriteFile(filepath.Join(path, "what"), []byte(text), 0o600))
		},
		Read: func(at string) string {
			if at == "" {
				at = path
			}
			return sourcetest.ReadText(t, filepath.Join(at, "what"))
		},
	}
}

func reachedMount(t *testing.T) sourcetest.Reached {
	d := mount(t)
	r := reachedDirectory(t, d.cfg.Path)
	r.Src, r.Fault = d, &d.SwapFault
	return r
}

func TestHowFarASwapHasComeIsSeen(t *testing.T) {
	t.Run("directory", func(t *testing.T) { sourcetest.ReachSeen(t, reachedDir) })
	t.Run("mount point", func(t *testing.T) { sourcetest.ReachSeen(t, reachedMount) })
}

func TestNothingIsKeptOfWhatWasNotThere(t *testing.T) { sourcetest.KeepsNothing(t, reachedDir(t)) }

func reachedDir(t *testing.T) sourcetest.Reached {
	return reachedDirectory(t, filepath.Join(t.TempDir(), "files"))
}

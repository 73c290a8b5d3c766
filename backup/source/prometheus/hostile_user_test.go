package prometheus

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestAHostileUserLeadsRootNowhere(t *testing.T) {
	sourcetest.LeadsRootNowhere(t, preyPrometheus)
}

func TestAFolderThatIsSwappedBetweenTwoStepsIsHeld(t *testing.T) {
	sourcetest.HoldsItsDirectory(t, preyPrometheus)
}

func TestWhatIsPlantedIsInNobodysWay(t *testing.T) {
	sourcetest.MindsNoPlants(t, preyPrometheus)
}

func TestAForeignLinkIsNotFollowed(t *testing.T) {
	sourcetest.FollowsNoForeignLink(t, preyPrometheus)
}

// TestHostileUserProcess is the user's process, and no test by itself.
func TestHostileUserProcess(*testing.T) { sourcetest.RunHostileUser() }

func preyPrometheus(t *testing.T, e *sourcetest.Estate) *sourcetest.Prey {
	root := t.TempDir()
	older, newer := filepath.Join(root, "older"), filepath.Join(root, "newer")
	sourcetest.WriteOddities(t, older)
	sourcetest.WriteTree(t, newer, 8, sourcetest.TreeSize{Files: 12, Bytes: 12000})
	sourcetest.Must(t, os.WriteFile(filepath.Join(newer, "plain"), []byte("the same name, and another file"), 0o600))
	sourcetest.Must(t, os.Chmod(newer, 0o751))
	v := sourcetest.NewVault(t)
	backup := func(path string) (source.Entry, *pack.Reader) {
		d, err := directory.New("files", directory.Config{Path: path, Now: sourcetest.Stillness})
		sourcetest.Must(t, err)
		e, _ := v.Backup(t, d)
		e.Kind = "prometheus"
		return e, v.Reader()
	}
	target := filepath.Join(e.App, "files")
	src, err := New("metrics", Config{
		URL: "http://127.0.0.1:1", DataDir: target, Stop: []string{"true"}, Start: []string{"true"}, Scratch: t.TempDir(),
	})
	sourcetest.Must(t, err)
	p := &sourcetest.Prey{
		Src: src, Target: target, Rounds: 6, Dumped: src.snapshotTree(target),
		Fault: func(f func(string) error) { src.tree.SwapFault = f },
		Tidy:  func() { sourcetest.Must(t, os.RemoveAll(src.process.swapping())) },
	}
	p.A, p.ReadA = backup(older)
	p.B, p.ReadB = backup(newer)
	return p
}

package file

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestAHostileUserLeadsRootNowhere(t *testing.T) { sourcetest.LeadsRootNowhere(t, preyFile) }

func TestAFolderThatIsSwappedBetweenTwoStepsIsHeld(t *testing.T) {
	sourcetest.HoldsItsDirectory(t, preyFile)
}

func TestWhatIsPlantedIsInNobodysWay(t *testing.T) { sourcetest.MindsNoPlants(t, preyFile) }

func TestAForeignLinkIsNotFollowed(t *testing.T) { sourcetest.FollowsNoForeignLink(t, preyFile) }

// TestHostileUserProcess is the user's process, and no test by itself.
func TestHostileUserProcess(*testing.T) { sourcetest.RunHostileUser() }

func preyFile(t *testing.T, e *sourcetest.Estate) *sourcetest.Prey {
	p := &sourcetest.Prey{Target: filepath.Join(e.App, "conf"), Rounds: 40} // which are quick
	from := filepath.Join(t.TempDir(), "conf")
	make := func(path string) *Source {
		f, err := New("conf", Config{Path: path, Now: sourcetest.Stillness})
		sourcetest.Must(t, err)
		return f
	}
	src := make(p.Target)
	p.Src, p.Fault = src, func(f func(string) error) { src.Fault = f }
	v := sourcetest.NewVault(t)
	sourcetest.Must(t, os.WriteFile(from, []byte("old"), 0o640))
	sourcetest.Must(t, os.Chown(from, sourcetest.Nobody, sourcetest.Nobody))
	p.A, _ = v.Backup(t, make(from))
	p.ReadA = v.Reader()
	sourcetest.Must(t, os.WriteFile(from, []byte("newer"), 0o640))
	p.B, _ = v.Backup(t, make(from))
	p.ReadB = v.Reader()
	return p
}

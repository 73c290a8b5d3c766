package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestAHostileUserLeadsRootNowhere(t *testing.T) {
	sourcetest.LeadsRootNowhere(t, preySQLite)
}

func TestAFolderThatIsSwappedBetweenTwoStepsIsHeld(t *testing.T) {
	sourcetest.HoldsItsDirectory(t, preySQLite)
}

func TestWhatIsPlantedIsInNobodysWay(t *testing.T) { sourcetest.MindsNoPlants(t, preySQLite) }

func TestAForeignLinkIsNotFollowed(t *testing.T) {
	sourcetest.FollowsNoForeignLink(t, preySQLite)
}

// TestHostileUserProcess is the user's process, and no test by itself.
func TestHostileUserProcess(*testing.T) { sourcetest.RunHostileUser() }

func preySQLite(t *testing.T, e *sourcetest.Estate) *sourcetest.Prey {
	src := newSQLite(t, filepath.Join(e.App, "a.db"))
	p := &sourcetest.Prey{
		Src: src, Target: filepath.Join(e.App, "a.db"), Rounds: 40, // which are quick
		Fault: func(f func(string) error) { src.Fault = f },
	}
	from := filepath.Join(t.TempDir(), "a.db")
	db := sourcetest.NewBank(t, from, "wal", 3)
	sourcetest.Must(t, os.Chown(from, sourcetest.Nobody, sourcetest.Nobody))
	v := sourcetest.NewVault(t)
	p.A, _ = v.Backup(t, newSQLite(t, from))
	p.ReadA = v.Reader()
	sourcetest.Must(t, sourcetest.Transfer(db, 1, 2))
	p.B, _ = v.Backup(t, newSQLite(t, from))
	p.ReadB = v.Reader()
	sourcetest.Must(t, db.Close())
	return p
}

// TestAFifoBesideADatabaseHoldsNobodyUp: SQLite's files are the user's, and so may be
// anything.
func TestAFifoBesideADatabaseHoldsNobodyUp(t *testing.T) {
	for _, side := range []string{"", "-wal", "-journal", "-shm"} {
		path := filepath.Join(t.TempDir(), "a.db")
		sourcetest.Must(t, sourcetest.NewBank(t, path, "delete", 3).Close())
		if side == "" {
			sourcetest.Must(t, os.Remove(path))
		}
		sourcetest.Must(t, unix.Mkfifo(path+side, 0o600))
		_, _, err := sourcetest.NewVault(t).TryBackup(t.Context(), newSQLite(t, path))
		if !errors.Is(err, fsx.ErrNotFile) {
			t.Errorf("a fifo at a.db%s: %v", side, err)
		}
		_ = sourcetest.Promptly(t, sourcetest.Op{Name: "check", Do: newSQLite(t, path).Check})
	}
}

package sqlite

import (
	"os"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestADatabaseFileKeepsItsAttributes(t *testing.T) { sourcetest.KeepsAttributes(t, singleBank) }

func TestADatabaseFileOnAFileSystemWithoutAttributes(t *testing.T) {
	sourcetest.GoesWithoutAttributes(t, singleBank)
}

func TestWhatASwapOfADatabaseFileCannotRenameIsSaidBefore(t *testing.T) {
	sourcetest.CheckObstaclesOf(t, []sourcetest.Obstacle{
		{Name: "database", Src: singleBank, Flags: sourcetest.Immutable, Want: "cannot be replaced, because it is immutable: chattr -i"},
	})
}

func singleBank(t *testing.T, path string) source.Source {
	sourcetest.Must(t, sourcetest.NewBank(t, path, "delete", 3).Close())
	sourcetest.Must(t, os.Chmod(path, 0o640))
	return newSQLite(t, path)
}

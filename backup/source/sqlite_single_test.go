package source

import (
	"os"
	"testing"
)

func TestADatabaseFileKeepsItsAttributes(t *testing.T) { keepsAttributes(t, singleBank) }

func TestADatabaseFileOnAFileSystemWithoutAttributes(t *testing.T) {
	goesWithoutAttributes(t, singleBank)
}

func TestWhatASwapOfADatabaseFileCannotRenameIsSaidBefore(t *testing.T) {
	checkObstaclesOf(t, []obstacle{
		{"database", singleBank, "", immutable, "cannot be replaced, because it is immutable: chattr -i", ""},
	})
}

func singleBank(t *testing.T, path string) Source {
	do(t, newBank(t, path, "delete", 3).Close())
	do(t, os.Chmod(path, 0o640))
	return newSQLite(t, path)
}

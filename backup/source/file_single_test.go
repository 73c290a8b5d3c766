package source

import (
	"os"
	"testing"
)

func TestASingleFileKeepsItsAttributes(t *testing.T) { keepsAttributes(t, singleFile) }

func TestASingleFileOnAFileSystemWithoutAttributes(t *testing.T) {
	goesWithoutAttributes(t, singleFile)
}

func TestWhatASwapOfASingleFileCannotRenameIsSaidBefore(t *testing.T) {
	checkObstaclesOf(t, []obstacle{
		{"file", singleFile, "", appendOnly, "cannot be replaced, because it is append-only: chattr -a", ""},
		{"file in a folder", singleFile, "..", appendOnly, "because that folder is append-only", ""},
	})
}

func singleFile(t *testing.T, path string) Source {
	do(t, os.WriteFile(path, []byte("text"), 0o640))
	return newFileSource(t, path)
}

package file

import (
	"os"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestASingleFileKeepsItsAttributes(t *testing.T) { sourcetest.KeepsAttributes(t, singleFile) }

func TestASingleFileOnAFileSystemWithoutAttributes(t *testing.T) {
	sourcetest.GoesWithoutAttributes(t, singleFile)
}

func TestWhatASwapOfASingleFileCannotRenameIsSaidBefore(t *testing.T) {
	sourcetest.CheckObstaclesOf(t, []sourcetest.Obstacle{
		{Name: "file", Src: singleFile, Flags: sourcetest.AppendOnly, Want: "cannot be replaced, because it is append-only: chattr -a"},
		{Name: "file in a folder", Src: singleFile, Locks: "..", Flags: sourcetest.AppendOnly, Want: "because that folder is append-only"},
	})
}

func singleFile(t *testing.T, path string) source.Source {
	sourcetest.Must(t, os.WriteFile(path, []byte("text"), 0o640))
	return newFileSource(t, path)
}

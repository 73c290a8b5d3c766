package file

import (
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestHowFarASwapOfAFileHasComeIsSeen(t *testing.T) { sourcetest.ReachSeen(t, reachedConf) }

func TestNothingIsKeptOfAFileThatWasNotThere(t *testing.T) {
	sourcetest.KeepsNothing(t, reachedConf(t))
}

func reachedConf(t *testing.T) sourcetest.Reached {
	path := filepath.Join(t.TempDir(), "app.conf")
	src := newFileSource(t, path)
	return sourcetest.ReachedFile(t, src, path, &src.Fault)
}

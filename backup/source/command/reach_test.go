package command

import (
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestHowFarASwapOfACommandsStateHasComeIsSeen(t *testing.T) {
	sourcetest.ReachSeen(t, func(t *testing.T) sourcetest.Reached {
		dir := t.TempDir()
		path := filepath.Join(dir, "state")
		src := newFileCommand(t, path, filepath.Join(dir, "scratch"))
		return sourcetest.ReachedFile(t, src, path, &src.fault)
	})
}

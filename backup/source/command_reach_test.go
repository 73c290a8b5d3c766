package source

import (
	"path/filepath"
	"testing"
)

func TestHowFarASwapOfACommandsStateHasComeIsSeen(t *testing.T) {
	reachSeen(t, func(t *testing.T) reached {
		dir := t.TempDir()
		path := filepath.Join(dir, "state")
		src := newFileCommand(t, path, filepath.Join(dir, "scratch"))
		return reachedFile(t, src, path, &src.fault)
	})
}

package source

import (
	"path/filepath"
	"testing"
)

func TestHowFarASwapOfAFileHasComeIsSeen(t *testing.T) { reachSeen(t, reachedConf) }

func TestNothingIsKeptOfAFileThatWasNotThere(t *testing.T) { keepsNothing(t, reachedConf(t)) }

func reachedConf(t *testing.T) reached {
	path := filepath.Join(t.TempDir(), "app.conf")
	src := newFileSource(t, path)
	return reachedFile(t, src, path, &src.fault)
}

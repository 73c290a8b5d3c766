package postgrescluster

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// reached is a server's source whose state is the text of a file in its data folder: a base
// has such files, too.
func reached(t *testing.T, s *testServer) sourcetest.Reached {
	s.t.Helper()
	src := s.source(nil)
	ctx := s.t.Context()
	sourcetest.Must(s.t, src.SwapBack(ctx)) // of the stop before
	sourcetest.Must(s.t, src.Discard(ctx))
	sourcetest.MustSweep(t, src)
	if is, err := controlAt(sourcetest.Placed(s.t, s.data)); err != nil || is.recovering() {
		sourcetest.Must(s.t, src.Start(ctx, 1))
	}
	s.start()
	return sourcetest.Reached{
		Src: src, Fault: &src.place.fault,
		Write: func(text string) {
			sourcetest.Must(s.t, os.WriteFile(filepath.Join(s.data, "state"), []byte(text), 0o644))
		},
		Read: func(path string) string {
			if path == "" {
				path = s.data
			}
			return sourcetest.ReadText(t, filepath.Join(path, "state"))
		},
	}
}

func TestHowFarASwapOfAServerHasComeIsSeen(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	sourcetest.ReachSeen(t, func(t *testing.T) sourcetest.Reached { return reached(t, s) })
}

// TestASwapThatReplacedNothingHasNothingToKeep: on a host that has no server yet.
func TestASwapThatReplacedNothingHasNothingToKeep(t *testing.T) {
	t.Parallel()
	s := newTestServer(t)
	src, v := s.source(nil), sourcetest.NewVault(t)
	e, _ := v.Backup(t, src)
	s.stop()
	sourcetest.Must(t, os.RemoveAll(s.data))
	v.Stage(t, src, e)
	sourcetest.Must(t, src.Swap(t.Context()))
	if reach, err := src.Reach(t.Context()); err != nil || reach != source.ReachPlaced {
		t.Errorf("reach %v, %v", reach, err)
	}
	if kept, err := src.Keep(t.Context()); err != nil || kept != "" {
		t.Errorf("kept %q, %v", kept, err)
	}
	sourcetest.Must(t, src.Start(t.Context(), 2))
	sourcetest.Must(t, src.Discard(t.Context()))
	sourcetest.MustSweep(t, src)
	if left, err := filepath.Glob(filepath.Join(s.dir, ".*understudy*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if got := s.timeline(); got != "00000002" {
		t.Errorf("timeline %s", got)
	}
}

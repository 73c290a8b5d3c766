package restore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestADamagedStageIsRestoredAgain damages what is staged, deep in a folder: the
// backup is no longer ready, another stage of it makes that good, and says so.
func TestADamagedStageIsRestoredAgain(t *testing.T) {
	cl := newCluster(t)
	active, standby := newApp(t), newApp(t)
	active.set(t, "new")
	standby.set(t, "old")
	m, err := cl.repo.Load(t.Context(), cl.writeApp(t, active))
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := cl.repo.Open(t.Context(), m, cl.repo.BucketPacks())
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSwapper(t.TempDir(), standby.sources(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stage(t.Context(), r, m, nil); err != nil {
		t.Fatal(err)
	}
	if ready, err := s.Ready(t.Context(), m); !ready || err != nil || s.Inspected().Entries == 0 || s.Inspected().Damaged > 0 {
		t.Fatalf("ready: %v, %v, %+v", ready, err, s.Inspected())
	}
	staged := filepath.Join(filepath.Dir(standby.dir), "."+filepath.Base(standby.dir)+".understudy-staged", "file")
	if err := os.WriteFile(staged, []byte("bad"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ready, err := s.Ready(t.Context(), m); ready || err != nil || s.Inspected().Damaged != 1 {
		t.Errorf("ready though damaged: %v, %v, %+v", ready, err, s.Inspected())
	}
	if err := errors.Join(s.Stage(t.Context(), r, m, nil), s.Swap(t.Context())); err != nil {
		t.Fatal(err)
	}
	if found := s.Inspected(); found.Damaged != 1 || found.First != "file in uploads" {
		t.Errorf("found %+v", found)
	}
	standby.mustBe(t, "new")
}

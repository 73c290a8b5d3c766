package postgrescluster

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

func TestAHostileUserLeadsRootNowhere(t *testing.T) {
	t.Parallel()
	sourcetest.LeadsRootNowhere(t, prey)
}

func TestAFolderThatIsSwappedBetweenTwoStepsIsHeld(t *testing.T) {
	t.Parallel()
	sourcetest.HoldsItsDirectory(t, prey)
}

func TestWhatIsPlantedIsInNobodysWay(t *testing.T) {
	t.Parallel()
	sourcetest.MindsNoPlants(t, prey)
}

func TestAForeignLinkIsNotFollowed(t *testing.T) {
	t.Parallel()
	sourcetest.FollowsNoForeignLink(t, func(t *testing.T, e *sourcetest.Estate) *sourcetest.Prey {
		p := prey(t, e)
		p.Dumped = nil // what lies behind the link would be dumped
		return p
	})
}

// TestHostileUserProcess is the user's process, and no test by itself.
func TestHostileUserProcess(*testing.T) { sourcetest.RunHostileUser() }

// preyed is a source on a host whose server does not run, and so can be looked at by its
// stage alone.
type preyed struct{ *Source }

// Inspect implements Inspector.
func (p preyed) Inspect(ctx context.Context) (source.Inspection, error) {
	_, err := p.Fingerprint(ctx)
	return source.Inspection{}, err
}

func prey(t *testing.T, e *sourcetest.Estate) *sourcetest.Prey {
	s := newTestServer(t)
	from, v := s.source(nil), sourcetest.NewVault(t)
	target := filepath.Join(e.App, "files")
	to := s.source(func(c *Config) { c.DataDir, c.Scratch = target, t.TempDir() })
	p := &sourcetest.Prey{
		Src: preyed{to}, Target: target, Rounds: 2, Dumped: from,
		Fault: func(f func(string) error) { to.place.fault = f },
	}
	s.sql("CREATE TABLE t AS SELECT generate_series(1, 1000)")
	p.A, _ = v.Backup(t, from)
	p.ReadA = v.Reader()
	s.sql("INSERT INTO t SELECT generate_series(1, 1000)")
	p.B, _ = v.Backup(t, from)
	p.ReadB = v.Reader()
	return p
}

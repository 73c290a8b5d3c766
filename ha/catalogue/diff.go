package catalogue

import (
	"context"
	"time"

	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/restore"
)

// BackupDiff says in what two backups differ, source by source.
type BackupDiff struct {
	A       control.BackupInfo   `json:"a"`
	B       control.BackupInfo   `json:"b"`
	Same    bool                 `json:"same"`
	Sources []restore.SourceDiff `json:"sources" nullable:"false"`
	// Error says that not all sources could be compared; each of those has its own.
	Error string `json:"error,omitempty"`
}

const (
	diffListed = 50              // changes of each source; all are counted
	diffWithin = 2 * time.Minute // what a comparison may take
)

// Diff compares two backups of the bucket; what B has and A has not counts as added. A
// comparison while another one, or a verification, is under way is a *ha.Refusal.
func (c *Catalogue) Diff(ctx context.Context, idA, idB string) (BackupDiff, error) {
	if !c.verifying.TryLock() {
		return BackupDiff{}, errBusy
	}
	defer c.verifying.Unlock()
	ctx, cancel := context.WithTimeout(ctx, diffWithin)
	defer cancel()
	var d BackupDiff
	var sides [2]restore.DiffSide
	for i, side := range []struct {
		id   string
		info *control.BackupInfo
	}{{idA, &d.A}, {idB, &d.B}} {
		info, m, err := c.BackupInfo(ctx, side.id)
		if err != nil {
			return d, err
		}
		*side.info = info
		sides[i] = restore.DiffSide{Repo: c.cfg.Repo, Manifest: m, Packs: c.cfg.Repo.Current().BucketPacks()}
	}
	sources, err := restore.Diff(ctx, sides[0], sides[1], restore.DiffOptions{Limit: diffListed})
	if err != nil && sources == nil {
		return d, err
	}
	d.Same, d.Sources = true, sources
	for _, s := range sources {
		d.Same = d.Same && s.Same
	}
	if err != nil {
		d.Same, d.Error = false, err.Error()
	}
	return d, nil
}

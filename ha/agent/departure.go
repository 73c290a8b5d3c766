package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/membership"
	"github.com/understudy-ha/understudy/restore"
)

// Left is what came of leaving.
type Left struct {
	Settled *Settlement // nil: there was nothing to settle
	// Leftovers are copies of the application's state that could not be deleted.
	// The instance has left all the same, and Leave may be run again.
	Leftovers []source.Leftover
}

// Leave takes this instance out of its cluster: its record goes from the
// bucket, its cache, stage and journal from this host, and the active's address
// from its Prometheus. A restore that was interrupted ends first. The active
// cannot leave (*ha.Refusal), nor can an instance that still has something to
// salvage. No agent may be running on the data folder.
func Leave(ctx context.Context, cfg Config) (left Left, err error) {
	cfg, err = cfg.complete()
	if err != nil {
		return left, err
	}
	dir, err := datadir.Open(ctx, cfg.DataDir)
	if err != nil {
		return left, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if left, err = leave(ctx, cfg, dir); err != nil {
		return left, fmt.Errorf("leave cluster: %w", err)
	}
	return left, nil
}

// refuseToLeave refuses an instance that is the active, or may be it, or owes
// something.
func refuseToLeave(j ha.Journal) error {
	switch {
	case j.Doubt != "":
		return &ha.Refusal{Reason: "this data folder was copied, moved or put back: its record may be another's, and its state may be in no backup: accept it with: understudy accept-host, or join it afresh with: understudy join --replace, and start the agent (understudy serve) before it leaves"}
	case j.Role == ha.RoleActive:
		return &ha.Refusal{Reason: fmt.Sprintf("%s is the active: promote another instance first", j.Instance)}
	case j.Pending != nil && j.Pending.Commit, verdict(j) == restore.Committed:
		return &ha.Refusal{Reason: "a promotion of this instance has committed, or may have: start the agent (understudy serve) and let it end"}
	case j.Demotion != nil:
		return &ha.Refusal{Reason: "this instance has not finished stepping down (its state may have to be salvaged): start the agent (understudy serve) and let it finish"}
	}
	return nil
}

func leave(ctx context.Context, cfg Config, dir *datadir.Dir) (left Left, err error) {
	j, err := memberJournal(ctx, cfg, dir)
	if err == nil {
		err = refuseToLeave(j)
	}
	if err != nil {
		return left, err
	}
	b, _, err := control.Open(ctx, cfg.control())
	if err != nil {
		return left, err
	}
	if b.Cluster() != j.Cluster {
		return left, fmt.Errorf("%w: it holds another cluster (%s) than the data folder (%s)", control.ErrBucket, b.Cluster(), j.Cluster)
	}
	swapper, settled, err := settle(ctx, cfg, dir, j)
	left.Settled = settled
	if err != nil {
		return left, err
	}
	if err := membership.NewRegistrar(b, ha.Peer{Name: j.Instance}, j.Incarnations, cfg.Random).Leave(ctx); err != nil {
		return left, err
	}
	if left.Leftovers, err = purge(ctx, cfg, dir, swapper); err != nil || len(left.Leftovers) > 0 {
		return left, err // the journal stays: what is left is tried again
	}
	if err := cfg.Federation.Clear(); err != nil {
		return left, err
	}
	return left, dir.Forget()
}

// purge deletes every copy of the application's state that this host has as a
// member: what is staged or set aside beside the sources, the cache, scratch
// folders, and what hooks have printed; and what a server keeps for the agent. It returns
// what is left.
func purge(ctx context.Context, cfg Config, dir *datadir.Dir, swapper *restore.Swapper) ([]source.Leftover, error) {
	left, err := swapper.Purge(ctx)
	if err != nil {
		return left, err
	}
	cache, err := restore.OpenCache(dir.File(datadir.CacheFolder), cfg.Keep)
	if err == nil {
		err = cache.Purge(ctx)
	}
	if err != nil {
		left = append(left, source.Leftover{Path: dir.File(datadir.CacheFolder), Bytes: -1, Reason: err.Error()})
	}
	for _, src := range cfg.Sources {
		if from, ok := src.(source.Leaver); ok {
			if err := from.Leave(ctx); err != nil {
				left = append(left, source.Leftover{Path: "what the server of " + src.Name() + " keeps for the agent", Bytes: -1, Reason: err.Error()})
			}
		}
	}
	for _, path := range append(scratchFiles(dir.File(datadir.ScratchFolder)), dir.File(datadir.HooksFolder)) {
		if err := os.RemoveAll(path); err != nil {
			left = append(left, source.Leftover{Path: path, Bytes: -1, Reason: err.Error()})
		}
	}
	return left, ctx.Err()
}

// scratchFiles are the files of the sources' scratch folders, but for what was kept
// for an operator.
func scratchFiles(folder string) []string {
	all, _ := filepath.Glob(filepath.Join(folder, "*", "*")) // the pattern is a good one
	return slices.DeleteFunc(all, func(path string) bool { return strings.HasPrefix(filepath.Base(path), "kept-") })
}

package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/restore"
)

// What a standby has staged is read in rotation, so that what has rotted there is
// found, and restored again, before it is needed.
const (
	rereadPause  = 10 * time.Minute   // between two turns
	rereadAgain  = time.Minute        // the same, while there is something else to do
	rereadPeriod = 7 * 24 * time.Hour // in which the whole stage is read,
	rereadMost   = 2 << 20            // unless that takes more bytes a second than this
	rereadLeast  = 64 << 20           // bytes in a turn, so that a small stage is read sooner,
	rereadRest   = time.Hour          // with a rest between two rounds
)

const (
	stageKind = "rehearsal"
	rottenKey = "rotten"
)

// Reader reads the stage in rotation. It belongs to one goroutine.
type Reader struct {
	stage   *Stage
	state   State
	next    time.Duration // monotonic, when the next round may begin
	doubted bool          // something in the stage is, or may be, to be restored again
	failed  bool          // the last turn came to nothing
}

// State is the machine's state as of its last step.
type State interface {
	View() ha.Status
	// Changed returns a channel that is closed when it may have changed.
	Changed() <-chan struct{}
}

// NewReader takes what an earlier process left for doubtful: that may have found something.
func NewReader(s *Stage, state State) *Reader { return &Reader{stage: s, state: state, doubted: true} }

// Turn reads a part of the stage, if that is due, and returns when the next one is.
func (r *Reader) Turn(ctx context.Context) time.Duration {
	if !r.atRest() {
		return rereadAgain
	}
	if r.doubted || r.failed || r.stage.cfg.Clock.Now().Mono >= r.next {
		r.turn(ctx)
	}
	if r.failed {
		return rereadAgain
	}
	return rereadPause
}

// atRest reports whether this instance is a standby with nothing to do.
func (r *Reader) atRest() bool {
	c := r.state.View()
	return c.Role == ha.RoleStandby && c.Promotion == nil && c.Demotion == nil && c.Work == "" && !r.stage.cfg.Progress.IsPulling()
}

// whileAtRest is a context that ends as soon as there is something to do.
func (r *Reader) whileAtRest(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			changed := r.state.Changed()
			if !r.atRest() {
				cancel()
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}()
	return ctx, cancel
}

// turn reads as much of the stage as is due.
func (r *Reader) turn(ctx context.Context) {
	const key = "reread"
	resting, cancel := r.whileAtRest(ctx)
	defer cancel()
	err := r.readDue(restore.Polite(resting))
	r.failed = err != nil
	switch {
	case resting.Err() != nil:
	case errors.Is(err, restore.ErrVolume): // it is told, and over as soon as that is mounted
	case err != nil:
		r.stage.cfg.Log.Trouble(ctx, stageKind, key, fmt.Sprintf("the content of the stage cannot be checked: %v", err))
	default:
		r.stage.cfg.Log.TroubleOver(ctx, stageKind, key, "the content of the stage can be checked again")
	}
	r.stage.look()
	r.stage.cfg.Log.Changed()
}

func (r *Reader) readDue(ctx context.Context) (err error) {
	cached := r.stage.cfg.Backups.Refs()
	at := slices.IndexFunc(cached, func(ref backup.Ref) bool { return ref.ID == r.stage.staged() })
	if at < 0 {
		return nil
	}
	ref := cached[at]
	release, err := r.stage.cfg.Cache.Hold(ref.ID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := r.mend(ctx, ref); err != nil {
		return err
	}
	_, m, err := r.stage.cfg.Cache.Manifest(r.stage.cfg.Repo, ref.ID)
	if err != nil {
		return err
	}
	// Of the cache alone: what is bad there is the scrub's to mend.
	reader, _, err := r.stage.cfg.Repo.Open(ctx, m, r.stage.cfg.Cache)
	if err != nil {
		return err
	}
	if err := r.readStage(ctx, reader, m); err != nil {
		return err
	}
	return r.mend(ctx, ref)
}

// readStage reads what is due in this turn, up to the end of a round.
func (r *Reader) readStage(ctx context.Context, reader *pack.Reader, m *backup.Manifest) error {
	var size int64
	for _, e := range m.Sources {
		size += e.Size
	}
	before, err := r.stage.Swapper().Rereads()
	if err != nil {
		return err
	}
	turns := int64(rereadPeriod / rereadPause)
	for budget := max(min(size/turns, rereadMost*int64(rereadPause/time.Second)), rereadLeast); budget > 0; {
		read, bad, err := r.stage.Swapper().Reread(ctx, reader, m, budget, r.stage.cfg.Clock.Now().Wall)
		if err != nil {
			return err
		}
		if budget -= read; bad == nil {
			break
		}
		is, err := r.distrust(ctx, reader, m, *bad)
		if err != nil {
			return err
		}
		if !is {
			break // the next turn reads it again
		}
	}
	after, err := r.stage.Swapper().Rereads()
	if after.Last != nil && (before.Last == nil || !after.Last.Ended.Equal(before.Last.Ended)) {
		r.next = r.stage.cfg.Clock.Now().Mono + rereadRest
	}
	return err
}

// distrust has what is bad restored again, unless it is so no more.
func (r *Reader) distrust(ctx context.Context, reader *pack.Reader, m *backup.Manifest, bad restore.Rotten) (is bool, err error) {
	if !r.stage.changing.TryLock() {
		return false, nil
	}
	defer r.stage.changing.Unlock()
	if is, err = r.stage.Swapper().Distrust(ctx, reader, m, bad); !is {
		return is, err
	}
	r.doubted = true
	r.stage.cfg.Counts.StageRotten()
	r.stage.cfg.Log.Trouble(ctx, stageKind, rottenKey, fmt.Sprintf("what is staged of backup %s is not as it was restored, though size and times are: %s. "+
		"The disk is bad, or somebody wrote there. It is not promoted, but restored again from the cache", m.ID, bad))
	return is, err
}

// mend restores again what is bad in the stage.
func (r *Reader) mend(ctx context.Context, ref backup.Ref) error {
	if !r.doubted || !r.stage.changing.TryLock() {
		return nil
	}
	defer r.stage.changing.Unlock()
	if ctx.Err() != nil || r.stage.staged() != ref.ID {
		return ctx.Err()
	}
	if _, _, err := r.stage.putBeside(ctx, ref); err != nil {
		return err
	}
	r.doubted = false
	return nil
}

package agent

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

// StageRead says when the content of what is staged was last read whole from the
// disk, and compared with the backup.
type StageRead struct {
	LastRead *time.Time `json:"last_read,omitempty"` // nil: not yet
	Files    int64      `json:"files"`               // that were read then
	Bytes    int64      `json:"bytes"`
	Unread   int64      `json:"unread_files,omitempty"` // that this agent may not read
}

// String is a part of a sentence.
func (s *StageRead) String() string {
	if s.LastRead == nil {
		return "content not read again yet"
	}
	text := "content last read at " + s.LastRead.UTC().Format(time.DateTime) + " UTC"
	if s.Unread > 0 {
		text += fmt.Sprintf(", without %d files that the agent may not read", s.Unread)
	}
	return text
}

// stageRead says it of what is staged; nil where no source's stage can be read.
func (a *Agent) stageRead() *StageRead {
	if !a.swap().Rereadable() {
		return nil
	}
	state, err := a.swap().Rereads()
	if err != nil || state.Last == nil {
		return &StageRead{} // the next turn says what is wrong
	}
	last := state.Last
	return &StageRead{LastRead: &last.Ended, Files: last.Files, Bytes: last.Bytes, Unread: last.Unread}
}

// readNote says it at the end of a step.
func (a *Agent) readNote() string {
	read := a.stageRead()
	if read == nil {
		return ""
	}
	return "; " + read.String()
}

// rereader reads the stage in rotation. It belongs to one goroutine.
type rereader struct {
	a       *Agent
	next    time.Duration // monotonic, when the next round may begin
	doubted bool          // something in the stage is, or may be, to be restored again
	failed  bool          // the last turn came to nothing
}

// keepReread reads a part of the stage now and then.
func (a *Agent) keepReread(ctx context.Context) error {
	// An earlier process may have found something.
	r := &rereader{a: a, doubted: true}
	return a.whenAdmitted(ctx, func() time.Duration {
		if !a.atRest() {
			return rereadAgain
		}
		if r.doubted || r.failed || a.cfg.Clock.Now().Mono >= r.next {
			r.turn(ctx)
		}
		if r.failed {
			return rereadAgain
		}
		return rereadPause
	})
}

// atRest reports whether this instance is a standby with nothing to do.
func (a *Agent) atRest() bool {
	c := a.state.View()
	a.mu.Lock()
	defer a.mu.Unlock()
	return c.Role == ha.RoleStandby && c.Promotion == nil && c.Demotion == nil && c.Work == "" && a.pulling == nil
}

// whileAtRest is a context that ends as soon as there is something to do.
func (a *Agent) whileAtRest(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			changed := a.Changed()
			if !a.atRest() {
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
func (r *rereader) turn(ctx context.Context) {
	const key = "reread"
	a := r.a
	resting, cancel := a.whileAtRest(ctx)
	defer cancel()
	err := r.read(restore.Polite(resting))
	r.failed = err != nil
	switch {
	case resting.Err() != nil:
	case errors.Is(err, restore.ErrVolume): // it is told, and over as soon as that is mounted
	case err != nil:
		a.tell.Trouble(ctx, stageKind, key, fmt.Sprintf("the content of the stage cannot be checked: %v", err))
	default:
		a.tell.TroubleOver(ctx, stageKind, key, "the content of the stage can be checked again")
	}
	a.lookBeside()
	a.tell.Changed()
}

func (r *rereader) read(ctx context.Context) (err error) {
	a := r.a
	cached := a.cached()
	at := slices.IndexFunc(cached, func(ref backup.Ref) bool { return ref.ID == a.staged() })
	if at < 0 {
		return nil
	}
	ref := cached[at]
	release, err := a.cache.Hold(ref.ID)
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
	_, m, err := a.cache.Manifest(a.repo, ref.ID)
	if err != nil {
		return err
	}
	// Of the cache alone: what is bad there is the scrub's to mend.
	reader, _, err := a.repo.Open(ctx, m, a.cache)
	if err != nil {
		return err
	}
	if err := r.readStage(ctx, reader, m); err != nil {
		return err
	}
	return r.mend(ctx, ref)
}

// readStage reads what is due in this turn, up to the end of a round.
func (r *rereader) readStage(ctx context.Context, reader *pack.Reader, m *backup.Manifest) error {
	a := r.a
	var size int64
	for _, e := range m.Sources {
		size += e.Size
	}
	before, err := a.swap().Rereads()
	if err != nil {
		return err
	}
	turns := int64(rereadPeriod / rereadPause)
	for budget := max(min(size/turns, rereadMost*int64(rereadPause/time.Second)), rereadLeast); budget > 0; {
		read, bad, err := a.swap().Reread(ctx, reader, m, budget, a.cfg.Clock.Now().Wall)
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
	after, err := a.swap().Rereads()
	if after.Last != nil && (before.Last == nil || !after.Last.Ended.Equal(before.Last.Ended)) {
		r.next = a.cfg.Clock.Now().Mono + rereadRest
	}
	return err
}

// distrust has what is bad restored again, unless it is so no more.
func (r *rereader) distrust(ctx context.Context, reader *pack.Reader, m *backup.Manifest, bad restore.Rotten) (is bool, err error) {
	a := r.a
	if !a.staging.TryLock() {
		return false, nil
	}
	defer a.staging.Unlock()
	if is, err = a.swap().Distrust(ctx, reader, m, bad); !is {
		return is, err
	}
	r.doubted = true
	a.stats.stageRotten()
	a.tell.Trouble(ctx, stageKind, rottenKey, fmt.Sprintf("what is staged of backup %s is not as it was restored, though size and times are: %s. "+
		"The disk is bad, or somebody wrote there. It is not promoted, but restored again from the cache", m.ID, bad))
	return is, err
}

// mend restores again what is bad in the stage.
func (r *rereader) mend(ctx context.Context, ref backup.Ref) error {
	a := r.a
	if !r.doubted || !a.staging.TryLock() {
		return nil
	}
	defer a.staging.Unlock()
	if ctx.Err() != nil || a.staged() != ref.ID {
		return ctx.Err()
	}
	if _, _, err := a.putBeside(ctx, ref); err != nil {
		return err
	}
	r.doubted = false
	return nil
}

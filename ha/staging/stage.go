package staging

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/restore"
)

// Stage is what is staged beside the live state of the sources in force. It is safe for
// concurrent use.
type Stage struct {
	cfg     Config
	swapper atomic.Pointer[restore.Swapper]

	// changing is held by what changes the stage, each beside the others, and alone by
	// the Reader, which does so while there is nothing to do.
	changing sync.RWMutex

	mu     sync.Mutex
	shown  string     // id of the backup that is staged whole; "": none is
	readAt *StageRead // when its content was last read
}

// New has no sources yet: Open gives it some.
func New(cfg Config) *Stage { return &Stage{cfg: cfg} }

// Open works on these sources from now on.
func (s *Stage) Open(sources []source.Source) error {
	swapper, err := restore.NewSwapper(s.cfg.Folder, sources)
	if err != nil {
		return err
	}
	swapper.Step, swapper.Volume = s.cfg.Step, s.cfg.Volume
	s.swapper.Store(swapper)
	return nil
}

// Swapper is that of the sources in force.
func (s *Stage) Swapper() *restore.Swapper { return s.swapper.Load() }

// UseSources drops what is staged of the sources in force, and works on others from now
// on. clear deletes what was set aside: afterwards nobody knows where to look.
func (s *Stage) UseSources(ctx context.Context, sources []source.Source, clear func(context.Context) bool) error {
	defer s.change()()
	if err := s.Swapper().Drop(ctx); err != nil {
		return withWayOut(err)
	}
	clear(ctx)
	return s.Open(sources)
}

// change begins a change of what is staged, which ends with what it returns.
func (s *Stage) change() (end func()) {
	s.changing.RLock()
	return func() {
		s.changing.RUnlock()
		s.look()
		s.cfg.Leftovers()
	}
}

// Rehearse restores a cached backup beside the live state, has the probe judge
// it, and attests what came of it.
func (s *Stage) Rehearse(ctx context.Context, ref backup.Ref) (note string, err error) {
	defer s.change()()
	begun := s.cfg.Clock.Now()
	s.cfg.Counts.Rehearsal()
	found, err := s.beside(restore.Polite(ctx), ref, false)
	switch {
	case err != nil && ctx.Err() != nil:
		return "", err // it made way for a promotion: that says nothing of the backup
	case errors.Is(err, restore.ErrVolume):
		return "", err // nor does this
	case err == nil && found.proven:
		return "it is staged already", nil
	}
	now := s.cfg.Clock.Now()
	one := found.rehearsal(ref.ID, now, begun)
	if err = withWayOut(err); err != nil {
		one.Result, one.Error = ha.RehearsalFailed, err.Error()
		s.cfg.Counts.RehearsalFailed()
	}
	attested := s.attest(one)
	if err != nil {
		s.fallBack(restore.Polite(ctx), ref.ID)
		err = application.WithOutput(err, found.output)
	}
	note = fmt.Sprintf("restored and verified %s in %v", humanize.IBytes(uint64(max(0, one.Bytes))), one.Took)
	if err == nil {
		note += one.Remarks()
	}
	return note, errors.Join(err, attested)
}

// Rejoin stages what a former active has of its own, for rehearsals to bring forward: of the
// sources whose successor's log goes on from there. ref is the backup that the successor has
// restored, and ends are up to where it has the logs.
func (s *Stage) Rejoin(ctx context.Context, ref backup.Ref, ends map[string]stream.Position) (note string, err error) {
	defer s.change()()
	m, err := s.cfg.Repo.Load(ctx, ref)
	if err != nil {
		return "", err
	}
	rejoined, refused, err := s.Swapper().Rejoin(restore.Polite(ctx), m, ends)
	var notes []string
	if len(rejoined) > 0 {
		notes = append(notes, strings.Join(rejoined, ", ")+": what lies here goes on by the log of the new active, from where it ends; no backup has to be restored first")
	}
	if refused != nil {
		notes = append(notes, fmt.Sprintf("its replica is made of a backup, as on a new standby, since %v", refused))
	}
	return strings.Join(notes, "; "), err
}

// withWayOut says what to do about a restore that a crash has interrupted and that
// no journal tells of any more.
func withWayOut(err error) error {
	if errors.Is(err, source.ErrUnfinished) || errors.Is(err, restore.ErrState) {
		return fmt.Errorf("%w: stop this agent, run understudy join --replace, which ends it and loses nothing, and start the agent again", err)
	}
	return err
}

// Restore is a promotion's restore: a rehearsal that has passed is as good. With anyway
// neither damage nor the probe's word counts. The logs of sources are applied up to the
// ends of their streams; with none the stage is of the backup alone.
func (s *Stage) Restore(ctx context.Context, ref backup.Ref, anyway bool, ends map[string]ha.Stream) (note string, err error) {
	defer s.change()()
	if len(ends) == 0 {
		return s.restore(restore.Exactly(ctx), ref, anyway)
	}
	s.cfg.Follow.TakeIn(ctx, ends)
	if note, err = s.restore(ctx, ref, anyway); err != nil {
		return "", err
	}
	applied, err := s.cfg.Follow.CatchUp(ctx, ends)
	if err != nil {
		return "", err
	}
	if applied != "" {
		note += "; the log of " + applied
	}
	return note, nil
}

func (s *Stage) restore(ctx context.Context, ref backup.Ref, anyway bool) (note string, err error) {
	begun := s.cfg.Clock.Now()
	found, err := s.beside(ctx, ref, anyway)
	if err = withWayOut(err); err != nil {
		return "", application.WithOutput(err, found.output)
	}
	if found.proven {
		return "rehearsed" + found.entries() + s.readNote(), nil
	}
	if found.judged {
		if err := s.attest(found.rehearsal(ref.ID, s.cfg.Clock.Now(), begun)); err != nil {
			s.cfg.Log.Note(ctx, event.Warn, "rehearsal", err.Error(), nil)
		}
	}
	return "restored " + humanize.IBytes(uint64(max(0, found.bytes))), nil
}

// attest keeps what came of a rehearsal.
func (s *Stage) attest(one ha.Rehearsal) error {
	err := s.cfg.Announce("attest", func() error { return s.cfg.Rehearsals.add(one, s.cfg.Backups.Refs()) })
	if err != nil {
		return fmt.Errorf("attest the rehearsal of backup %s: %w", one.Backup, err)
	}
	return nil
}

// look keeps what is staged for everybody to see.
func (s *Stage) look() {
	id := s.staged()
	var read *StageRead
	if id != "" {
		read = s.read()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown, s.readAt = id, read
}

// Shown is what is staged whole, "" for nothing, and when its content was last read.
func (s *Stage) Shown() (id string, read *StageRead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown, s.readAt
}

// Whole reports what an interrupted change has left, which keeps the live state from
// being known.
func (s *Stage) Whole() error { return withWayOut(s.Swapper().Whole()) }

// Begun looks what an earlier process has left: what is known of its rehearsals, one of
// which that passed counts while its stage is there, and whether a swap is to be ended.
func (s *Stage) Begun(policy ha.RehearsalPolicy) (rehearsed ha.Rehearsed, swapped bool, err error) {
	state, staged, err := s.Swapper().State()
	if err != nil {
		return rehearsed, false, err
	}
	s.look()
	swapped = state == restore.Swapped || state == restore.Finishing
	all := s.cfg.Rehearsals.List(s.cfg.Backups.Refs())
	if policy.Off || len(all) == 0 {
		return rehearsed, swapped, nil
	}
	switch last := all[0]; {
	case last.Result == ha.RehearsalFailed:
		rehearsed = ha.Rehearsed{Backup: last.Backup, Error: last.Error}
	case state == restore.Staged && staged == last.Backup:
		rehearsed = ha.Rehearsed{Backup: last.Backup}
	}
	return rehearsed, swapped, nil
}

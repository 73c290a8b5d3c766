package restore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/polite"
	"github.com/understudy-ha/understudy/backup/source"
)

// Stage builds every source's state beside its target. If this very backup is
// staged already and its fingerprints hold, there is nothing to do, however large it
// is. A stage of another backup is brought forward: a source whose state is the
// same keeps it, and a directory has only written to it what changed.
//
// Free space is checked first, over all sources that share a file system
// (ErrNoSpace). A source in the backup that is not configured here, or the
// reverse, is ErrSources; one that lies on another file system than before is
// ErrVolume. It is refused (ErrState) while a swap is neither
// rolled back nor finished. After a failure State tells what is left: the
// earlier backup when its stage is still whole, which it is until a first
// source has its new one, or else Idle. progress may be nil. With a context of
// Polite, it takes low priority.
func (s *Swapper) Stage(ctx context.Context, r *pack.Reader, m *backup.Manifest, progress func(backup.Progress)) error {
	if err := s.stage(ctx, r, m, nil, progress); err != nil {
		return fmt.Errorf("stage backup %s: %w", m.ID, err)
	}
	return nil
}

// StageMoment is Stage of a moment: parts, by the names of their sources, are of backups of
// their own, and are built anew as they were then. m is the backup that all other sources are
// of. It returns what each of the parts has reached. Nothing but a Swap can use the stages:
// for whatever is staged next, they are built anew.
func (s *Swapper) StageMoment(ctx context.Context, r *pack.Reader, m *backup.Manifest, parts map[string]Part, progress func(backup.Progress)) (map[string]source.Reached, error) {
	at := &moment{parts: parts, reached: make(map[string]source.Reached)}
	if err := s.stage(Exactly(ctx), r, m, at, progress); err != nil {
		return nil, fmt.Errorf("stage a moment, with backup %s: %w", m.ID, err)
	}
	return at.reached, nil
}

// moment is what is staged of one.
type moment struct {
	parts   map[string]Part // by source
	reached map[string]source.Reached
}

// stage stages a backup, or a moment where that is not nil.
func (s *Swapper) stage(ctx context.Context, r *pack.Reader, m *backup.Manifest, at *moment, progress func(backup.Progress)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.set.checkVolumes(ctx, s.set.all)
	if err == nil {
		err = s.finishEarlier(ctx)
	}
	if err == nil {
		err = s.stager.stage(ctx, r, m, at, progress)
	}
	return err
}

// finishEarlier ends an earlier swap: what keeps it from its end may be over.
func (s *Swapper) finishEarlier(ctx context.Context) error {
	j, err := s.journal.read()
	if err != nil || j.State != Finishing {
		return nil //nolint:nilerr // who stages reads the journal again
	}
	return s.finish(ctx, j)
}

// Ready tells whether a backup is staged already, its fingerprints hold, and each entry
// is as it was staged (Inspected says how many are). So it need not be opened for
// a Stage, which takes longer the larger it is.
func (s *Swapper) Ready(ctx context.Context, m *backup.Manifest) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	plan, err := s.stager.plan(ctx, m, nil)
	if err == nil && plan.done() {
		err = s.stager.inspect(ctx, plan)
	}
	if err != nil {
		return false, fmt.Errorf("look for the stage of backup %s: %w", m.ID, err)
	}
	return plan.done(), nil
}

// Check tells whether a backup could be staged and swapped in here: its sources
// are those configured, servers and tools can restore them, and there is room
// for what is not staged already. Nothing is changed. It does not wait for a
// Stage that is under way.
func (s *Swapper) Check(ctx context.Context, m *backup.Manifest) error {
	plan, err := s.stager.plan(ctx, m, nil)
	if err == nil {
		err = s.stager.acceptable(ctx, plan)
	}
	if err == nil {
		err = s.stager.fits(plan)
		if errors.Is(err, ErrNoSpace) && plan.spare() > 0 {
			err = nil // Stage drops the earlier stage first
		}
	}
	if err != nil {
		return fmt.Errorf("check backup %s: %w", m.ID, err)
	}
	return nil
}

// stager builds the stages of all sources, and keeps those that are whole.
type stager struct {
	journal *journalDir
	set     *sourceSet
	statFS  func(path string) (fileSystem, error)

	looks     sync.Mutex
	inspected source.Inspection
}

// plan is what there is to do to stage a backup.
type plan struct {
	journal        // as it stands
	to      pin    // the backup
	parts   []part // in the sources' order
}

// part is a plan's part for one source.
type part struct {
	source.Source
	entry source.Entry
	held  *stageRecord // what is staged and whole; nil for nothing
	keep  bool         // it is what the entry says
	anew  bool         // nothing of it can be used: it is of a moment, or has gone on beyond the entry
	at    *moment      // that it is to be of; nil: the entry
}

// done tells whether the backup is staged already.
func (p *plan) done() bool {
	for _, part := range p.parts {
		if !part.keep {
			return false
		}
	}
	return p.State == Staged && p.pin == p.to
}

// spare is how many bytes of stages would be replaced.
func (p *plan) spare() (n int64) {
	for _, part := range p.parts {
		if part.held != nil && !part.keep {
			_, bytes := part.Space(part.held.Entry)
			n += bytes
		}
	}
	return n
}

func (s *stager) plan(ctx context.Context, m *backup.Manifest, at *moment) (*plan, error) {
	entries, err := s.set.entries(m)
	if err != nil {
		return nil, err
	}
	to, err := pinOf(m)
	if err != nil {
		return nil, err
	}
	if at != nil {
		to.Backup += " at a moment" // which is no backup
	}
	j, err := s.journal.read()
	if err != nil {
		return nil, err
	}
	if j.State == Finishing {
		j = journal{} // Stage finishes it first
	}
	if j.State.replaced() {
		return nil, fmt.Errorf("%w: %s has to be rolled back or finished first", ErrState, j.unfinished())
	}
	held, err := s.set.held(ctx, j)
	if err != nil {
		return nil, err
	}
	p := &plan{journal: j, to: to}
	for i, src := range s.set.all {
		h := held[i]
		one := part{Source: src, entry: entries[i], held: h, keep: h != nil && source.SameStage(h.Entry, entries[i]) && (h.sound() || source.DamageAllowed(ctx))}
		if h != nil && isExact(ctx) {
			if one.anew, err = past(ctx, src, entries[i]); err != nil {
				return nil, err
			}
		}
		if h != nil && h.Moment {
			one.anew = true
		}
		if at != nil {
			one.toMoment(at)
		}
		one.keep = one.keep && !one.anew
		p.parts = append(p.parts, one)
	}
	return p, nil
}

// toMoment has a part be of a moment, if its source is one that is.
func (p *part) toMoment(m *moment) {
	if of, ok := m.parts[p.Name()]; ok {
		p.entry, p.at, p.anew = of.Entry, m, true
	}
}

// past reports whether what is staged of a source has gone on, by a log, beyond what an
// entry holds.
func past(ctx context.Context, src source.Source, e source.Entry) (bool, error) {
	follower, ok := src.(source.Follower)
	if !ok {
		return false, nil
	}
	at, ok, err := follower.Followed(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("look how far the stage of %s has come: %w", src.Name(), err)
	}
	to, known := source.LogPosition(e)
	return ok && known && at > to, nil
}

func (s *stager) stage(ctx context.Context, r *pack.Reader, m *backup.Manifest, at *moment, progress func(backup.Progress)) error {
	plan, err := s.plan(ctx, m, at)
	if err == nil {
		err = s.inspect(ctx, plan)
	}
	if err != nil || plan.done() {
		return err
	}
	if err := s.set.unheard(ctx); err != nil {
		return err
	}
	if err := s.acceptable(ctx, plan); err != nil {
		return err
	}
	// Names are written down before anything is staged, so that it is known
	// whose stages to drop.
	j := s.begin(plan)
	if err := s.settlePlaces(ctx, &j, plan.journal); err != nil {
		return err
	}
	if err := s.makeRoom(ctx, plan, &j); err != nil {
		return err
	}
	if err := s.journal.write(&j, Staging); err != nil {
		return err
	}
	if err := s.stageAll(ctx, r, plan, &j, progress); err != nil {
		return errors.Join(err, s.settle(ctx, j))
	}
	return s.journal.write(&j, Staged)
}

// begin is the journal with which a staging begins.
func (s *stager) begin(p *plan) journal {
	j := journal{pin: p.to, Sources: s.set.names()}
	intact := true
	for _, part := range p.parts {
		if part.held == nil {
			intact = false
		} else {
			j.setStage(part.Source, part.held.Entry, part.held.Fingerprint)
			j.setFound(part.Source, part.held.found())
			j.setMoment(part.Source, part.held.Moment)
		}
	}
	switch {
	case !intact:
	case p.State == Staged:
		earlier := p.pin
		j.Earlier = &earlier
	case p.State == Staging:
		j.Earlier = p.Earlier
	}
	return j
}

// acceptable asks the sources whether they can restore what is not staged yet.
func (s *stager) acceptable(ctx context.Context, p *plan) error {
	for _, part := range p.parts {
		if !part.keep {
			if err := part.Accept(ctx, part.entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// stageAll stages every source and notes the fingerprint of each.
func (s *stager) stageAll(ctx context.Context, r *pack.Reader, p *plan, j *journal, progress func(backup.Progress)) error {
	entries := make([]source.Entry, len(p.parts))
	for i, part := range p.parts {
		entries[i] = part.entry
	}
	return eachEntry(entries, progress, func(i int, e source.Entry) error {
		part := p.parts[i]
		if part.keep {
			j.setStage(part.Source, e, part.held.Fingerprint) // its facts may be newer
			j.setFound(part.Source, part.held.found())
			return nil
		}
		x := source.Examination{AllowDamage: source.DamageAllowed(ctx)}
		if part.held != nil {
			x.Before = part.held.Found
		}
		ctx := source.WithExamination(ctx, &x)
		err := s.set.do("stage", part.Source, func() error {
			folder, need := part.need()
			err := polite.WithReader(ctx, r, func(r *pack.Reader) error { return stageOne(ctx, r, part) })
			return source.SayFull(err, need, folder)
		})
		if err != nil {
			return err
		}
		print, err := part.Fingerprint(ctx)
		if err != nil {
			return err
		}
		if print == "" {
			return fmt.Errorf("%w: the stage of %s is gone", ErrTouched, part.Name())
		}
		j.setStage(part.Source, e, print)
		j.setFound(part.Source, x.Findings)
		j.setMoment(part.Source, part.at != nil)
		j.Earlier = nil
		return s.journal.write(j, Staging)
	})
}

// stageOne brings a source's stage forward where that can be done, and builds
// it otherwise.
func stageOne(ctx context.Context, r *pack.Reader, p part) error {
	if p.at != nil {
		return stageAt(ctx, p)
	}
	advancer, ok := p.Source.(source.Advancer)
	if !ok || p.held == nil || p.anew {
		return p.Stage(ctx, r, p.entry)
	}
	err := advancer.Advance(ctx, r, p.held.Entry, p.entry)
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	// Old and new do not fit side by side.
	if err := freed(ctx, p.Source); err != nil {
		return err
	}
	return p.Stage(ctx, r, p.entry)
}

// stageAt builds the stage of a moment.
func stageAt(ctx context.Context, p part) error {
	stager, ok := p.Source.(source.MomentStager)
	if !ok {
		return fmt.Errorf("source %s cannot be brought to a moment: its kind is %s", p.Name(), p.Kind())
	}
	of := p.at.parts[p.Name()]
	reached, err := stager.StageMoment(ctx, of.Reader, of.Entry, *of.Moment)
	if err == nil {
		p.at.reached[p.Name()] = reached
	}
	return err
}

// eachEntry runs do for every entry, reporting progress between them.
func eachEntry(entries []source.Entry, progress func(backup.Progress), do func(i int, e source.Entry) error) error {
	var now backup.Progress
	for _, e := range entries {
		now.Total += e.Size
	}
	report := func() {
		if progress != nil {
			progress(now)
		}
	}
	for i, e := range entries {
		now.Step = e.Kind + " " + e.Name
		report()
		if err := do(i, e); err != nil {
			return err
		}
		now.Done += e.Size
		report()
	}
	return nil
}

// Polite makes a Stage under the given context take only what others leave of
// processor and disk: for a rehearsal, not for a promotion. What a database
// server does for it is not ours to slow down.
func Polite(ctx context.Context) context.Context { return polite.Context(ctx) }

// AllowDamage makes a Stage under the given context stage a state that was
// damaged when it was backed up. Otherwise that is a source.DamageError.
func AllowDamage(ctx context.Context) context.Context { return source.AllowDamage(ctx) }

type exactKey struct{}

// Exactly makes a Stage under the given context be of the backup alone: what has gone on
// beyond it, by the log of a stream, is built anew.
func Exactly(ctx context.Context) context.Context {
	return context.WithValue(ctx, exactKey{}, true)
}

func isExact(ctx context.Context) bool { return ctx.Value(exactKey{}) != nil }

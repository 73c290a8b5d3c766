package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/restore"
)

// rehearse restores a cached backup beside the live state, has the probe judge
// it, and attests what came of it.
func (a *Agent) rehearse(ctx context.Context, ref backup.Ref) ha.Done {
	begun := a.cfg.Clock.Now()
	a.stats.rehearsal()
	s, err := a.beside(restore.Polite(ctx), ref, false)
	switch {
	case err != nil && ctx.Err() != nil:
		return failed(err) // it made way for a promotion: that says nothing of the backup
	case errors.Is(err, restore.ErrVolume):
		return failed(err) // nor does this
	case err == nil && s.proven:
		return ha.Done{Note: "it is staged already"}
	}
	now := a.cfg.Clock.Now()
	one := s.rehearsal(ref.ID, now, begun)
	if err = withWayOut(err); err != nil {
		one.Result, one.Error = ha.RehearsalFailed, err.Error()
		a.stats.rehearsalFailed()
	}
	attested := a.attest(one)
	if err != nil {
		a.fallBack(restore.Polite(ctx), ref.ID)
		err = application.WithOutput(err, s.output)
	}
	d := failed(errors.Join(err, attested))
	d.Note = fmt.Sprintf("restored and verified %s in %v", humanize.IBytes(uint64(max(0, one.Bytes))), one.Took)
	for what, texts := range map[string][]string{"in doubt": one.Doubts, "not checked": one.Unchecked} {
		if err == nil && len(texts) > 0 {
			d.Note += fmt.Sprintf("; %s: %s", what, strings.Join(texts, "; "))
		}
	}
	return d
}

// withWayOut says what to do about a restore that a crash has interrupted and that
// no journal tells of any more.
func withWayOut(err error) error {
	if errors.Is(err, source.ErrUnfinished) || errors.Is(err, restore.ErrState) {
		return fmt.Errorf("%w: stop this agent, run understudy join --replace, which ends it and loses nothing, and start the agent again", err)
	}
	return err
}

// rehearsal is what is to be attested of a stage that the probe likes.
func (s *staging) rehearsal(id string, now, begun ha.Now) ha.Rehearsal {
	one := ha.Rehearsal{
		Backup: id, Time: now.Wall, Result: ha.RehearsalPassed,
		Took: ha.Duration((now.Mono - begun.Mono).Round(time.Millisecond)), Bytes: s.bytes, Output: s.output,
		Doubts: s.doubts, Unchecked: s.unchecked,
	}
	if len(one.Doubts) > 0 {
		one.Result = ha.RehearsalDoubtful
	}
	return one
}

// stage is a promotion's restore: a rehearsal that has passed is as good.
func (a *Agent) stage(ctx context.Context, e ha.Stage) ha.Done {
	begun := a.cfg.Clock.Now()
	s, err := a.beside(ctx, e.Ref, e.AllowFailed)
	if err = withWayOut(err); err != nil {
		return failed(application.WithOutput(err, s.output))
	}
	if s.proven {
		return ha.Done{Note: "rehearsed" + s.entries() + a.readNote()}
	}
	if s.judged {
		if err := a.attest(s.rehearsal(e.Ref.ID, a.cfg.Clock.Now(), begun)); err != nil {
			a.tell.Note(ctx, event.Warn, "rehearsal", err.Error(), nil)
		}
	}
	return ha.Done{Note: "restored " + humanize.IBytes(uint64(max(0, s.bytes)))}
}

// attest keeps what came of a rehearsal.
func (a *Agent) attest(one ha.Rehearsal) error {
	err := a.announced("attest", func() error { return a.proofs.add(one, a.cached()) })
	if err != nil {
		return fmt.Errorf("attest the rehearsal of backup %s: %w", one.Backup, err)
	}
	return nil
}

// staging is what came of putting a backup beside the live state.
type staging struct {
	bytes   int64
	checked source.Inspection
	proven  bool   // it was there, whole, and had passed the probe
	judged  bool   // the probe likes it
	output  string // of the probe

	damage, doubts, unchecked []string
}

// beside puts a backup beside the live state, verified and judged by the
// probe. Where the probe has judged this very stage already it is not asked
// again; with anyway its word does not count.
func (a *Agent) beside(ctx context.Context, ref backup.Ref, anyway bool) (s staging, err error) {
	release, err := a.hold(ctx, ref)
	if err != nil {
		return staging{}, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if anyway {
		ctx = restore.AllowDamage(ctx)
	}
	passed := a.staged() == ref.ID && a.proofs.staged(ref.ID)
	var fresh bool
	if s, fresh, err = a.putBeside(ctx, ref); err != nil {
		return s, err
	}
	if s.proven = passed && !fresh; s.proven {
		return s, nil
	}
	if s.output, err = a.app.Probe(ctx, ref); err != nil && anyway && ctx.Err() == nil {
		a.tell.Note(ctx, event.Warn, "rehearsal", fmt.Sprintf("backup %s is restored on an operator's word, against the probe's: %v", ref.ID, application.WithOutput(err, s.output)), nil)
		if errors.Is(err, source.ErrWritten) {
			_, _, err := a.putBeside(ctx, ref)
			return s, err
		}
		return s, nil
	}
	if s.judged = err == nil && len(s.damage) == 0; err == nil && !s.judged {
		a.tell.Note(ctx, event.Warn, "rehearsal", fmt.Sprintf("backup %s is restored on an operator's word, though it is damaged: %s", ref.ID, strings.Join(s.damage, "; ")), nil)
	}
	return s, err
}

// hold keeps a backup in the cache until release; one that is not there, or
// whose records are damaged, is pulled.
func (a *Agent) hold(ctx context.Context, ref backup.Ref) (release func() error, err error) {
	if a.cache.Sound(ref) == nil {
		release, err = a.cache.Hold(ref.ID)
		if !errors.Is(err, fs.ErrNotExist) {
			return release, err
		}
	}
	if err := a.pull(ctx, ref); err != nil {
		return nil, err
	}
	return a.cache.Hold(ref.ID)
}

// putBeside stages a backup that is held. fresh reports that it was not staged
// already.
func (a *Agent) putBeside(ctx context.Context, ref backup.Ref) (s staging, fresh bool, err error) {
	defer a.clearProgress()
	cached, m, err := a.cache.Manifest(a.repo, ref.ID)
	if err != nil {
		return s, false, err
	}
	if cached.Digest != ref.Digest {
		return s, false, fmt.Errorf("restore backup %s: the cached one is another (digest %s instead of %s)", ref.ID, cached.Digest, ref.Digest)
	}
	for _, e := range m.Sources {
		s.bytes += e.Size
	}
	ready, err := a.swap().Ready(ctx, m)
	s.checked = a.swap().Inspected()
	if err != nil {
		return s, false, err
	}
	if !ready {
		reader, _, err := a.repo.Open(ctx, m, a.cache.Mending(a.repo))
		if err != nil {
			return s, false, err
		}
		if err := a.swap().Stage(ctx, reader, m, a.setProgress); err != nil {
			return s, true, err
		}
		a.tellInspected(ctx, ref)
	}
	a.tell.TroubleOver(ctx, stageKind, rottenKey, "what was not as it was restored is restored again")
	return s, !ready, s.examined(a.swap(), m)
}

// tellInspected says what was wrong with a stage that was brought forward.
func (a *Agent) tellInspected(ctx context.Context, ref backup.Ref) {
	if found := a.swap().Inspected(); found.Damaged > 0 {
		a.stats.stageDamaged(found.Damaged)
		a.tell.Note(ctx, event.Alarm, "rehearsal", fmt.Sprintf("%d entries of the stage of backup %s were not as they were restored, and were restored again, %s first: somebody writes there, or the disk is bad", found.Damaged, ref.ID, found.First), nil)
	}
}

// entries says what was compared of a stage; "" where nothing was.
func (s *staging) entries() string {
	if s.checked.Entries == 0 {
		return ""
	}
	return fmt.Sprintf(", and all %d entries are as they were restored", s.checked.Entries)
}

// maxDoubts bounds what a rehearsal says of each kind.
const maxDoubts = 5

// examined takes over what is known of what is staged.
func (s *staging) examined(swapper *restore.Swapper, m *backup.Manifest) error {
	found, err := swapper.Found()
	s.damage, s.unchecked = found.Damage, few(found.Unchecked)
	var doubts []string
	for _, e := range m.Sources {
		for _, path := range e.Torn {
			doubts = append(doubts, fmt.Sprintf("%s: %q changed each time it was read", e.Name, path))
		}
	}
	s.doubts = few(doubts)
	return err
}

// few shortens a list.
func few(texts []string) []string {
	if len(texts) <= maxDoubts {
		return texts
	}
	return append(slices.Clone(texts[:maxDoubts]), fmt.Sprintf("and %d more", len(texts)-maxDoubts))
}

// fallBack stages the newest cached backup that has passed, where the rehearsal
// of another has taken its place and failed: a promotion to it stays a swap.
func (a *Agent) fallBack(ctx context.Context, failed string) {
	for _, ref := range a.cached() {
		if ref.ID == failed || !a.proofs.staged(ref.ID) {
			continue
		}
		if a.staged() == ref.ID {
			return
		}
		if err := a.restage(ctx, ref); err != nil && ctx.Err() == nil {
			a.tell.Note(ctx, event.Alarm, "rehearsal", fmt.Sprintf("backup %s, which has passed its rehearsal, is no longer staged: %v", ref.ID, err), nil)
		}
		return
	}
}

// restage is putBeside for a backup that nobody holds yet.
func (a *Agent) restage(ctx context.Context, ref backup.Ref) (err error) {
	release, err := a.hold(ctx, ref)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	_, _, err = a.putBeside(ctx, ref)
	return err
}

// staged is the id of the backup that is staged whole; "": none is.
func (a *Agent) staged() string {
	state, id, err := a.swap().State()
	if err != nil || state != restore.Staged {
		return ""
	}
	return id
}

// lookBeside keeps what is staged for everybody to see.
func (a *Agent) lookBeside() {
	id := a.staged()
	var read *StageRead
	if id != "" {
		read = a.stageRead()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.besideNow, a.readNow = id, read
}

// startSwap is startStep for what changes what is staged.
func (a *Agent) startSwap(ctx context.Context, step string, id uint64, do func(context.Context) ha.Done) {
	a.startStep(ctx, step, id, func(ctx context.Context) ha.Done {
		defer a.setAside()
		defer a.lookBeside()
		a.staging.RLock()
		defer a.staging.RUnlock()
		return do(ctx)
	})
}

// lastRehearsal is what is known of rehearsals when a process starts. One that
// passed counts while its stage is there.
func (a *Agent) lastRehearsal(state restore.State, staged string) ha.Rehearsed {
	all := a.proofs.list(a.cached())
	if a.live().Rehearsal.Off || len(all) == 0 {
		return ha.Rehearsed{}
	}
	switch last := all[0]; {
	case last.Result == ha.RehearsalFailed:
		return ha.Rehearsed{Backup: last.Backup, Error: last.Error}
	case state == restore.Staged && staged == last.Backup:
		return ha.Rehearsed{Backup: last.Backup}
	}
	return ha.Rehearsed{}
}

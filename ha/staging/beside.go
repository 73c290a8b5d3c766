package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/sources"
	"github.com/understudy-ha/understudy/restore"
)

// findings is what came of putting a backup beside the live state.
type findings struct {
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
func (s *Stage) beside(ctx context.Context, ref backup.Ref, anyway bool) (f findings, err error) {
	return s.judged(ctx, ref, anyway, func(ctx context.Context) (findings, bool, error) { return s.putBeside(ctx, ref) })
}

// judged is beside, by what put stages of a backup that is held.
func (s *Stage) judged(ctx context.Context, ref backup.Ref, anyway bool, put func(context.Context) (f findings, fresh bool, err error)) (f findings, err error) {
	release, err := s.hold(ctx, ref)
	if err != nil {
		return findings{}, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if anyway {
		ctx = restore.AllowDamage(ctx)
	}
	passed := s.staged() == ref.ID && s.cfg.Rehearsals.passed(ref.ID)
	var fresh bool
	if f, fresh, err = put(ctx); err != nil {
		return f, err
	}
	if f.proven = passed && !fresh; f.proven {
		return f, nil
	}
	if f.output, err = s.cfg.Judge.Probe(ctx, ref); err != nil && anyway && ctx.Err() == nil {
		s.cfg.Log.Note(ctx, event.Warn, "rehearsal", fmt.Sprintf("backup %s is restored on an operator's word, against the probe's: %v", ref.ID, application.WithOutput(err, f.output)), nil)
		if errors.Is(err, source.ErrWritten) {
			_, _, err := put(ctx)
			return f, err
		}
		return f, nil
	}
	if f.judged = err == nil && len(f.damage) == 0; err == nil && !f.judged {
		s.cfg.Log.Note(ctx, event.Warn, "rehearsal", fmt.Sprintf("backup %s is restored on an operator's word, though it is damaged: %s", ref.ID, strings.Join(f.damage, "; ")), nil)
	}
	return f, err
}

// hold keeps a backup in the cache until release; one that is not there, or
// whose records are damaged, is pulled.
func (s *Stage) hold(ctx context.Context, ref backup.Ref) (release func() error, err error) {
	if s.cfg.Cache.Sound(ref) == nil {
		release, err = s.cfg.Cache.Hold(ref.ID)
		if !errors.Is(err, fs.ErrNotExist) {
			return release, err
		}
	}
	if err := s.cfg.Backups.Pull(ctx, ref); err != nil {
		return nil, err
	}
	return s.cfg.Cache.Hold(ref.ID)
}

// putBeside stages a backup that is held. fresh reports that it was not staged
// already.
func (s *Stage) putBeside(ctx context.Context, ref backup.Ref) (f findings, fresh bool, err error) {
	defer s.cfg.Progress.Clear()
	m, err := s.manifest(ref)
	if err != nil {
		return f, false, err
	}
	for _, e := range m.Sources {
		f.bytes += e.Size
	}
	ready, err := s.Swapper().Ready(ctx, m)
	f.checked = s.Swapper().Inspected()
	if err != nil {
		return f, false, err
	}
	if !ready {
		reader, _, err := s.cfg.Repo.Open(ctx, m, s.cfg.Cache.Mending(s.cfg.Repo))
		if err != nil {
			return f, false, err
		}
		if err := s.Swapper().Stage(ctx, reader, m, s.cfg.Progress.Set); err != nil {
			return f, true, err
		}
		s.tellInspected(ctx, ref)
	}
	s.cfg.Log.TroubleOver(ctx, stageKind, rottenKey, "what was not as it was restored is restored again")
	err = f.examined(s.Swapper(), m)
	return f, !ready, err
}

// manifest is that of a backup that is held.
func (s *Stage) manifest(ref backup.Ref) (*backup.Manifest, error) {
	cached, m, err := s.cfg.Cache.Manifest(s.cfg.Repo, ref.ID)
	if err == nil && cached.Digest != ref.Digest {
		err = fmt.Errorf("restore backup %s: the cached one is another (digest %s instead of %s)", ref.ID, cached.Digest, ref.Digest)
	}
	return m, err
}

// tellInspected says what was wrong with a stage that was brought forward.
func (s *Stage) tellInspected(ctx context.Context, ref backup.Ref) {
	if found := s.Swapper().Inspected(); found.Damaged > 0 {
		s.cfg.Counts.StageDamaged(found.Damaged)
		s.cfg.Log.Note(ctx, event.Alarm, "rehearsal", fmt.Sprintf("%d entries of the stage of backup %s were not as they were restored, and were restored again, %s first: somebody writes there, or the disk is bad", found.Damaged, ref.ID, found.First), nil)
	}
}

// entries says what was compared of a stage; "" where nothing was.
func (f *findings) entries() string {
	if f.checked.Entries == 0 {
		return ""
	}
	return fmt.Sprintf(", and all %d entries are as they were restored", f.checked.Entries)
}

// examined takes over what is known of what is staged.
func (f *findings) examined(swapper *restore.Swapper, m *backup.Manifest) error {
	found, err := swapper.Found()
	f.damage, f.unchecked = found.Damage, sources.Few(found.Unchecked)
	var doubts []string
	for _, e := range m.Sources {
		for _, path := range e.Torn {
			doubts = append(doubts, fmt.Sprintf("%s: %q changed each time it was read", e.Name, path))
		}
	}
	f.doubts = sources.Few(doubts)
	return err
}

// fallBack stages the newest cached backup that has passed, where the rehearsal
// of another has taken its place and failed: a promotion to it stays a swap.
func (s *Stage) fallBack(ctx context.Context, failed string) {
	for _, ref := range s.cfg.Backups.Refs() {
		if ref.ID == failed || !s.cfg.Rehearsals.passed(ref.ID) {
			continue
		}
		if s.staged() == ref.ID {
			return
		}
		if err := s.restage(ctx, ref); err != nil && ctx.Err() == nil {
			s.cfg.Log.Note(ctx, event.Alarm, "rehearsal", fmt.Sprintf("backup %s, which has passed its rehearsal, is no longer staged: %v", ref.ID, err), nil)
		}
		return
	}
}

// restage is putBeside for a backup that nobody holds yet.
func (s *Stage) restage(ctx context.Context, ref backup.Ref) (err error) {
	release, err := s.hold(ctx, ref)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	_, _, err = s.putBeside(ctx, ref)
	return err
}

// staged is the id of the backup that is staged whole; "": none is.
func (s *Stage) staged() string {
	state, id, err := s.Swapper().State()
	if err != nil || state != restore.Staged {
		return ""
	}
	return id
}

// rehearsal is what is to be attested of a stage that the probe likes.
func (f *findings) rehearsal(id string, now, begun ha.Now) ha.Rehearsal {
	one := ha.Rehearsal{
		Backup: id, Time: now.Wall, Result: ha.RehearsalPassed,
		Took: ha.Duration((now.Mono - begun.Mono).Round(time.Millisecond)), Bytes: f.bytes, Output: f.output,
		Doubts: f.doubts, Unchecked: f.unchecked,
	}
	if len(one.Doubts) > 0 {
		one.Result = ha.RehearsalDoubtful
	}
	return one
}

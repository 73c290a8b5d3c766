package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// makeBackup makes a backup. The application is stopped during the final
// backup of a switchover, so nothing is quiesced then.
func (a *Agent) makeBackup(ctx context.Context, e ha.MakeBackup) ha.Done {
	start := a.cfg.Clock.Now()
	a.stats.Attempt(start.Wall)
	o, err := a.order(ctx, e.Config)
	if err != nil {
		a.stats.BackupFailed(a.cfg.Clock.Now().Mono - start.Mono)
		return failed(err)
	}
	o.Epoch, o.Sequence, o.Previous = e.Epoch, e.Sequence, e.Previous
	o.Trigger, o.By, o.Reason, o.FirstInEpoch = e.Trigger, e.By, e.Reason, e.First
	o.Missing, o.Full = a.packs.BeginBackup()
	lost := false
	o.Lost = func(ctx context.Context, missing []pack.Info) { lost = a.packs.NoteLost(ctx, missing) || lost }
	if e.Trigger == backup.Requested && !e.First {
		o.CheckPacks = upkeep.Listed
	}
	if e.Trigger != backup.Switchover {
		o.Before, o.After = a.app.AroundBackup(e)
	}
	o.Moved, o.Accept = a.volumes.MovedSince, a.changes.IsAccepted
	ref, m, err := a.writeBackup(ctx, o)
	a.changes.Tell(ctx, o.Sources, err)
	if err != nil {
		a.stats.BackupFailed(a.cfg.Clock.Now().Mono - start.Mono)
		return failed(err)
	}
	a.changes.Spend()
	if err := a.volumes.Learn(ctx, o.Sources...); err != nil {
		a.tell.Note(ctx, event.Warn, "backup", "where the sources lie could not be noted: "+err.Error(), nil)
	}
	now := a.cfg.Clock.Now()
	a.stats.BackupDone(now.Wall, now.Mono-start.Mono, m)
	a.warn(ctx, ref, m)
	a.doubts.Tell(ctx, m)
	if len(o.Missing) > 0 || o.Full || lost {
		a.packs.StoredAgain(ctx, o.Full)
	}
	a.trimCache(ctx, m)
	return ha.Done{Ref: &ref, Changed: m.Changed}
}

// makeSalvage keeps the present state if the successor does not have it.
func (a *Agent) makeSalvage(ctx context.Context, e ha.MakeSalvage) ha.Done {
	a.doubts.Over(ctx)
	if err := a.stage.Whole(); err != nil {
		return failed(err)
	}
	o, err := a.order(ctx, e.Config)
	if err != nil {
		return failed(err)
	}
	o.Sources, o.Notes = a.present(ctx, o.Sources)
	if len(o.Sources) == 0 {
		a.tell.Note(ctx, event.Warn, "salvage", "no source is there on this host: there is nothing to salvage", nil)
		return ha.Done{}
	}
	o.Epoch, o.Sequence, o.Previous = e.Epoch, e.Sequence, e.Against
	o.Trigger, o.Salvage, o.OnlyIfChanged = backup.Salvage, true, e.Against != nil
	o.Moved = a.volumes.MovedSince
	o.Reason = fmt.Sprintf("state of %s when epoch %d ended", a.self.Name, e.Epoch)
	ref, m, err := a.writeBackup(ctx, o)
	if err != nil {
		return failed(err)
	}
	a.changes.Spend() // what was confirmed was so of the active's next backup
	if e.Against != nil && ref.ID == e.Against.ID {
		return ha.Done{}
	}
	a.warn(ctx, ref, m)
	return ha.Done{Ref: &ref, Changed: m.Changed}
}

// present are the sources that this host has anything of, and says which are not
// here, as on a host that was set up anew. What a restore could not make is not
// missing, nor is what lies on a file system that was there before: something keeps
// it from being seen.
func (a *Agent) present(ctx context.Context, all []source.Source) (here []source.Source, notes []string) {
	for _, s := range all {
		err := s.Check(ctx)
		if errors.Is(err, fs.ErrNotExist) && source.CheckRestore(ctx, s) == nil && a.volumes.Check(ctx, s) == nil {
			notes = append(notes, err.Error()+"; this host has nothing of it that could be kept")
		} else {
			here = append(here, s)
		}
	}
	return here, notes
}

// order is what every backup has in common.
func (a *Agent) order(ctx context.Context, digest string) (backup.Order, error) {
	c, err := a.configs.get(ctx, digest)
	if err != nil {
		return backup.Order{}, err
	}
	keys, err := a.cfg.Ring.Unwrap(c.DataKey, a.control.Cluster())
	if err != nil {
		return backup.Order{}, err
	}
	rules := a.rules.Effect(c).Effective
	o := backup.Order{
		Instance: a.self.Name, Version: a.cfg.Version, AppVersion: a.app.KnownVersion(ctx),
		Retention: rules.Keep, ReuseWindow: rules.Reuse,
		Keys: keys, Sources: a.live().Sources, Local: a.cache.Through(a.repo.Current()),
		Now:       func() time.Time { return a.cfg.Clock.Now().Wall },
		StoreTime: a.control.Time,
		Random:    a.cfg.Random, Progress: a.progress.Set, Log: a.cfg.Logger,
	}
	a.locks.Complete(ctx, &o)
	return o, nil
}

// writeBackup writes a backup's packs and manifest.
func (a *Agent) writeBackup(ctx context.Context, o backup.Order) (backup.Ref, *backup.Manifest, error) {
	defer a.progress.Clear()
	if o.Previous != nil {
		// One that cannot be read is looked for, and judged, by Write itself.
		if m, err := a.chain.Manifest(ctx, *o.Previous); err == nil {
			o.PreviousManifest = m
		}
	}
	ref, m, err := a.repo.Write(ctx, o)
	if err != nil {
		return ref, m, err
	}
	a.chain.Remember(ref, m)
	a.locks.Written(o)
	return ref, m, nil
}

func (a *Agent) warn(ctx context.Context, ref backup.Ref, m *backup.Manifest) {
	for _, w := range m.Warnings {
		a.tell.Note(ctx, event.Warn, "backup", w, map[string]any{"backup": ref.ID})
	}
	for _, e := range m.Sources {
		for _, w := range e.Warnings {
			a.tell.Note(ctx, event.Warn, "backup", w, map[string]any{"backup": ref.ID, "source": e.Name})
		}
	}
}

// trimEvery is how many backups are made between two looks at what the cache
// no longer needs: each leaves a few small packs.
const trimEvery = 10

// trimCache drops what neither the cached backups need nor, as its
// predecessor's metadata, the next one. Its failure costs room, nothing else.
func (a *Agent) trimCache(ctx context.Context, m *backup.Manifest) {
	if a.untrimmed++; a.untrimmed < trimEvery {
		return
	}
	_, index, err := a.repo.Open(ctx, m, a.cache.Through(a.repo))
	if err == nil {
		err = a.cache.Trim(ctx, index)
	}
	if err != nil {
		a.tell.Note(ctx, event.Warn, "cache", err.Error(), nil)
		return
	}
	a.untrimmed = 0
}

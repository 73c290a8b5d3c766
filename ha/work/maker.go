package work

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/sources"
	"github.com/understudy-ha/understudy/ha/upkeep"
	"github.com/understudy-ha/understudy/restore"
)

// Config is what a Maker is given.
type Config struct {
	Instance, Version, Cluster string
	Ring                       *seal.Ring
	Repo                       *backup.Repository
	Cache                      *restore.Cache
	Chain                      *control.Chain
	Clock                      clock.Clock
	StoreTime                  func() time.Time
	Random                     io.Reader
	Log                        event.Reporter
	Logger                     *slog.Logger

	Volumes *sources.Volumes
	Changes *sources.Changes
	Doubts  *sources.Doubts
	InForce func() []source.Source

	Progress    *Progress
	Counts      Counts
	Application Application
	Packs       Packs
	Locks       Locks
	// Rules are by which backups are kept, as a configuration has it.
	Rules func(c *ha.Config) retention.Policy
	// Shared reads the shared configuration with a digest.
	Shared func(ctx context.Context, digest string) (*ha.Config, error)
	// Whole reports what keeps the live state from being known.
	Whole func() error
}

// Counts counts backups.
type Counts interface {
	Attempt(at time.Time)
	BackupFailed(took time.Duration)
	BackupDone(at time.Time, took time.Duration, m *backup.Manifest)
}

// Application is the application that is backed up.
type Application interface {
	// AroundBackup are its hooks; nil where there is nothing to do.
	AroundBackup(e ha.MakeBackup) (before, after func(context.Context) error)
	// KnownVersion is its version, as far as it can be found out.
	KnownVersion(ctx context.Context) string
}

// Packs knows which packs are missing from the bucket.
type Packs interface {
	// BeginBackup returns what is missing, and whether everything is stored again.
	BeginBackup() (missing map[pack.Digest]bool, full bool)
	NoteLost(ctx context.Context, missing []pack.Info) (news bool)
	// StoredAgain is told that a backup does without what was missing.
	StoredAgain(ctx context.Context, full bool)
}

// Locks are on what a backup stores.
type Locks interface {
	Complete(ctx context.Context, o *backup.Order)
	Written(o backup.Order)
}

// Maker makes backups, one at a time.
type Maker struct {
	cfg       Config
	untrimmed int // backups made since the cache was trimmed
}

// NewMaker has made none.
func NewMaker(cfg Config) *Maker { return &Maker{cfg: cfg} }

// Backup makes a backup. The application is stopped during the final backup of a
// switchover, so nothing is quiesced then.
func (m *Maker) Backup(ctx context.Context, e ha.MakeBackup) (ref *backup.Ref, changed bool, err error) {
	start := m.cfg.Clock.Now()
	m.cfg.Counts.Attempt(start.Wall)
	defer func() {
		if err != nil {
			m.cfg.Counts.BackupFailed(m.cfg.Clock.Now().Mono - start.Mono)
		}
	}()
	o, err := m.Order(ctx, e.Config)
	if err != nil {
		return nil, false, err
	}
	o.Epoch, o.Sequence, o.Previous = e.Epoch, e.Sequence, e.Previous
	o.Trigger, o.By, o.Reason, o.FirstInEpoch = e.Trigger, e.By, e.Reason, e.First
	o.Missing, o.Full = m.cfg.Packs.BeginBackup()
	lost := false
	o.Lost = func(ctx context.Context, missing []pack.Info) { lost = m.cfg.Packs.NoteLost(ctx, missing) || lost }
	if e.Trigger == backup.Requested && !e.First {
		o.CheckPacks = upkeep.Listed
	}
	if e.Trigger != backup.Switchover {
		o.Before, o.After = m.cfg.Application.AroundBackup(e)
	}
	o.Moved, o.Accept = m.cfg.Volumes.MovedSince, m.cfg.Changes.IsAccepted
	made, manifest, err := m.write(ctx, o)
	m.cfg.Changes.Tell(ctx, o.Sources, err)
	if err != nil {
		return nil, false, err
	}
	m.cfg.Changes.Spend()
	if err := m.cfg.Volumes.Learn(ctx, o.Sources...); err != nil {
		m.cfg.Log.Note(ctx, event.Warn, "backup", "where the sources lie could not be noted: "+err.Error(), nil)
	}
	now := m.cfg.Clock.Now()
	m.cfg.Counts.BackupDone(now.Wall, now.Mono-start.Mono, manifest)
	m.warn(ctx, made, manifest)
	m.cfg.Doubts.Tell(ctx, manifest)
	if len(o.Missing) > 0 || o.Full || lost {
		m.cfg.Packs.StoredAgain(ctx, o.Full)
	}
	m.trimCache(ctx, manifest)
	return &made, manifest.Changed, nil
}

// Salvage keeps the present state if the successor does not have it; nil: there is
// nothing to keep.
func (m *Maker) Salvage(ctx context.Context, e ha.MakeSalvage) (ref *backup.Ref, changed bool, err error) {
	m.cfg.Doubts.Over(ctx)
	if err := m.cfg.Whole(); err != nil {
		return nil, false, err
	}
	o, err := m.Order(ctx, e.Config)
	if err != nil {
		return nil, false, err
	}
	o.Sources, o.Notes = m.present(ctx, o.Sources)
	if len(o.Sources) == 0 {
		m.cfg.Log.Note(ctx, event.Warn, "salvage", "no source is there on this host: there is nothing to salvage", nil)
		return nil, false, nil
	}
	ctx = source.WithCovered(ctx, ha.Covered(e.Ends))
	o.Epoch, o.Sequence, o.Previous = e.Epoch, e.Sequence, e.Against
	o.Trigger, o.Salvage, o.OnlyIfChanged = backup.Salvage, true, e.Against != nil
	o.Moved = m.cfg.Volumes.MovedSince
	o.Reason = fmt.Sprintf("state of %s when epoch %d ended", m.cfg.Instance, e.Epoch)
	made, manifest, err := m.write(ctx, o)
	if err != nil {
		return nil, false, err
	}
	m.cfg.Changes.Spend() // what was confirmed was so of the active's next backup
	if e.Against != nil && made.ID == e.Against.ID {
		return nil, false, nil
	}
	m.warn(ctx, made, manifest)
	return &made, manifest.Changed, nil
}

// present are the sources that this host has anything of, and says which are not
// here, as on a host that was set up anew. What a restore could not make is not
// missing, nor is what lies on a file system that was there before: something keeps
// it from being seen.
func (m *Maker) present(ctx context.Context, all []source.Source) (here []source.Source, notes []string) {
	for _, s := range all {
		err := s.Check(ctx)
		if errors.Is(err, fs.ErrNotExist) && source.CheckRestore(ctx, s) == nil && m.cfg.Volumes.Check(ctx, s) == nil {
			notes = append(notes, err.Error()+"; this host has nothing of it that could be kept")
		} else {
			here = append(here, s)
		}
	}
	return here, notes
}

// Order is what every backup has in common, by the configuration with a digest.
func (m *Maker) Order(ctx context.Context, digest string) (backup.Order, error) {
	c, err := m.cfg.Shared(ctx, digest)
	if err != nil {
		return backup.Order{}, err
	}
	keys, err := m.cfg.Ring.Unwrap(c.DataKey, m.cfg.Cluster)
	if err != nil {
		return backup.Order{}, err
	}
	rules := m.cfg.Rules(c)
	o := backup.Order{
		Instance: m.cfg.Instance, Version: m.cfg.Version, AppVersion: m.cfg.Application.KnownVersion(ctx),
		Retention: rules.Keep, ReuseWindow: rules.Reuse,
		Keys: keys, Sources: m.cfg.InForce(), Local: m.cfg.Cache.Through(m.cfg.Repo.Current()),
		Now:       func() time.Time { return m.cfg.Clock.Now().Wall },
		StoreTime: m.cfg.StoreTime,
		Random:    m.cfg.Random, Progress: m.cfg.Progress.Set, Log: m.cfg.Logger,
	}
	m.cfg.Locks.Complete(ctx, &o)
	return o, nil
}

// write writes a backup's packs and manifest.
func (m *Maker) write(ctx context.Context, o backup.Order) (backup.Ref, *backup.Manifest, error) {
	defer m.cfg.Progress.Clear()
	if o.Previous != nil {
		// One that cannot be read is looked for, and judged, by Write itself.
		if previous, err := m.cfg.Chain.Manifest(ctx, *o.Previous); err == nil {
			o.PreviousManifest = previous
		}
	}
	ref, manifest, err := m.cfg.Repo.Write(ctx, o)
	if err != nil {
		return ref, manifest, err
	}
	m.cfg.Chain.Remember(ref, manifest)
	m.cfg.Locks.Written(o)
	return ref, manifest, nil
}

// warn tells what a backup could not keep.
func (m *Maker) warn(ctx context.Context, ref backup.Ref, manifest *backup.Manifest) {
	for _, w := range manifest.Warnings {
		m.cfg.Log.Note(ctx, event.Warn, "backup", w, map[string]any{"backup": ref.ID})
	}
	for _, e := range manifest.Sources {
		for _, w := range e.Warnings {
			m.cfg.Log.Note(ctx, event.Warn, "backup", w, map[string]any{"backup": ref.ID, "source": e.Name})
		}
	}
}

// trimEvery is how many backups are made between two looks at what the cache
// no longer needs: each leaves a few small packs.
const trimEvery = 10

// trimCache drops what neither the cached backups need nor, as its
// predecessor's metadata, the next one. Its failure costs room, nothing else.
func (m *Maker) trimCache(ctx context.Context, manifest *backup.Manifest) {
	if m.untrimmed++; m.untrimmed < trimEvery {
		return
	}
	_, index, err := m.cfg.Repo.Open(ctx, manifest, m.cfg.Cache.Through(m.cfg.Repo))
	if err == nil {
		err = m.cfg.Cache.Trim(ctx, index)
	}
	if err != nil {
		m.cfg.Log.Note(ctx, event.Warn, "cache", err.Error(), nil)
		return
	}
	m.untrimmed = 0
}

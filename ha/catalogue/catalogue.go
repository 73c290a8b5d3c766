package catalogue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/moments"
	"github.com/understudy-ha/understudy/restore"
)

// Config is what a Catalogue is given.
type Config struct {
	Store    *control.Store
	Chain    *control.Chain
	AuditLog *control.AuditLog
	Streams  moments.Streams
	Repo     *backup.Repository
	Cache    *restore.Cache
	State    State
	Cached   Cached
	// Packs and Objects know what is damaged in the bucket, by backup and by key.
	Packs, Objects Damage
	// Keep is for how long backups are kept by the configuration with a digest; 0: that
	// is not known.
	Keep func(ctx context.Context, digest string) time.Duration
	// Rehearsals are who has rehearsed which backup, as far as is known.
	Rehearsals func() map[string][]control.BackupRehearsal
}

// State is the machine's state as of its last step.
type State interface{ View() ha.Status }

// Cached are the backups in this instance's cache, newest first.
type Cached interface {
	Refs() []backup.Ref
	Has(id string) bool
}

// Damage is what is known to be wrong in the bucket.
type Damage interface {
	// Damage says what is wrong with one thing; "": nothing is known.
	Damage(of string) string
	// LookSoon has it looked at soon.
	LookSoon()
}

// Catalogue says which backups there are. It is safe for concurrent use.
type Catalogue struct {
	cfg       Config
	verifying sync.Mutex // one verification or comparison at a time
}

// errBusy refuses a verification, or a comparison, beside another one.
var errBusy = &ha.Refusal{Reason: "a backup is being verified, or compared with another one: wait until that is done"}

// New makes one of what it is given.
func New(cfg Config) *Catalogue { return &Catalogue{cfg: cfg} }

// Backups are the cluster's backups, with what this instance has cached. While
// the bucket does not answer it is what the cache holds.
func (c *Catalogue) Backups(ctx context.Context, limit int) ([]control.BackupInfo, error) {
	list, err := c.BackupsAfter(ctx, "", limit)
	return list.Backups, err
}

// BackupsAfter is the part of the list that comes after the backup with this
// id in the list, which need not be there any more; "" is the beginning.
func (c *Catalogue) BackupsAfter(ctx context.Context, id string, limit int) (control.BackupList, error) {
	p, err := control.PageOf(id, limit)
	if err != nil {
		return control.BackupList{}, err
	}
	return c.page(ctx, p)
}

func (c *Catalogue) page(ctx context.Context, p control.Page) (control.BackupList, error) {
	seen := c.cfg.State.View().Seen
	c.cfg.Objects.LookSoon()
	h, err := c.cfg.Store.Head(ctx)
	if err != nil {
		if control.Unreachable(err) {
			return c.Cached(p), nil
		}
		return control.BackupList{}, err
	}
	keep := c.cfg.Keep(ctx, h.Config)
	list, err := c.cfg.Chain.PageFrom(ctx, h, keep, p)
	if err != nil {
		return list, err
	}
	list.OlderHead = control.OlderText(h, seen)
	rehearsed := c.cfg.Rehearsals()
	for i := range list.Backups {
		b := &list.Backups[i]
		b.Cached, b.Rehearsals = c.cfg.Cached.Has(b.ID), rehearsed[b.ID]
		c.addDamage(b)
	}
	return list, nil
}

// Cached lists what the cache holds. A damaged manifest is listed with
// the reason.
func (c *Catalogue) Cached(p control.Page) control.BackupList {
	var all []control.BackupInfo
	rehearsed := c.cfg.Rehearsals()
	for _, ref := range c.cfg.Cached.Refs() {
		if !p.Has(ref) {
			continue
		}
		_, m, err := c.cfg.Cache.Manifest(c.cfg.Repo, ref.ID)
		if errors.Is(err, seal.ErrUnknownKey) {
			continue
		}
		info := control.DamagedInfo(ref, err)
		if err == nil {
			info = control.InfoOf(ref, m)
		}
		info.Cached, info.Salvage, info.Rehearsals = true, ref.IsSalvage(), rehearsed[ref.ID]
		all = append(all, info)
	}
	return p.Cut(all)
}

// BackupInfo describes the backup with this id ("" for the newest), with its
// verified manifest. An unknown id is ErrNoBackup.
func (c *Catalogue) BackupInfo(ctx context.Context, id string) (control.BackupInfo, *backup.Manifest, error) {
	h, err := c.cfg.Store.Head(ctx)
	if err != nil {
		return control.BackupInfo{}, nil, err
	}
	return c.Find(ctx, h, id)
}

// Find is BackupInfo by a head.
func (c *Catalogue) Find(ctx context.Context, h *ha.Head, id string) (control.BackupInfo, *backup.Manifest, error) {
	info, m, err := c.cfg.Chain.FindFrom(ctx, h, id)
	info.Cached, info.Rehearsals = c.cfg.Cached.Has(info.ID), c.cfg.Rehearsals()[info.ID]
	c.addDamage(&info)
	return info, m, err
}

// addDamage says what is known to be wrong with a backup in the bucket.
func (c *Catalogue) addDamage(b *control.BackupInfo) {
	if text := c.cfg.Packs.Damage(b.ID); text != "" {
		b.Warnings = append(slices.Clone(b.Warnings), text)
	}
	if why := c.cfg.Objects.Damage(b.Key); why != "" && b.Damaged == "" {
		b.Warnings = append(slices.Clone(b.Warnings), "its manifest cannot be used from the bucket, and was read from a cache or an earlier version: "+why)
	}
}

// ClusterHistory reads a page of the cluster's audit log.
func (c *Catalogue) ClusterHistory(ctx context.Context, before string, limit int) (control.ClusterHistory, error) {
	seen := c.cfg.State.View().Seen
	h, err := c.cfg.Store.Head(ctx)
	if err != nil {
		return control.ClusterHistory{}, err
	}
	keep := c.cfg.Keep(ctx, h.Config)
	page, err := c.cfg.AuditLog.PageFrom(ctx, h, keep, before, limit)
	page.OlderHead = control.OlderText(h, seen)
	return page, err
}

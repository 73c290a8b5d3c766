package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

// Backups are the cluster's backups, with what this instance has cached. While
// the bucket does not answer it is what the cache holds.
func (a *Agent) Backups(ctx context.Context, limit int) ([]control.BackupInfo, error) {
	list, err := a.BackupsAfter(ctx, "", limit)
	return list.Backups, err
}

// BackupsAfter is the part of the list that comes after the backup with this
// id in the list, which need not be there any more; "" is the beginning.
func (a *Agent) BackupsAfter(ctx context.Context, id string, limit int) (control.BackupList, error) {
	p, err := control.PageOf(id, limit)
	if err != nil {
		return control.BackupList{}, err
	}
	return a.backups(ctx, p)
}

func (a *Agent) backups(ctx context.Context, p control.Page) (control.BackupList, error) {
	seen := a.state.View().Seen
	a.objects.LookSoon()
	h, err := a.control.Head(ctx)
	if err != nil {
		if control.Unreachable(err) {
			return a.cachedBackups(p), nil
		}
		return control.BackupList{}, err
	}
	var keep time.Duration
	if c, err := a.configs.With(ctx, h.Config); err == nil {
		keep = a.rules.Effect(c).Effective.Keep
	}
	list, err := a.chain.PageFrom(ctx, h, keep, p)
	if err != nil {
		return list, err
	}
	list.OlderHead = control.OlderText(h, seen)
	rehearsed := a.rehearsedOn()
	for i := range list.Backups {
		b := &list.Backups[i]
		b.Cached, b.Rehearsals = a.cached.Has(b.ID), rehearsed[b.ID]
		a.addDamage(b)
	}
	return list, nil
}

// cachedBackups lists what the cache holds. A damaged manifest is listed with
// the reason.
func (a *Agent) cachedBackups(p control.Page) control.BackupList {
	var all []control.BackupInfo
	rehearsed := a.rehearsedOn()
	for _, ref := range a.cached.Refs() {
		if !p.Has(ref) {
			continue
		}
		_, m, err := a.cache.Manifest(a.repo, ref.ID)
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
func (a *Agent) BackupInfo(ctx context.Context, id string) (control.BackupInfo, *backup.Manifest, error) {
	h, err := a.control.Head(ctx)
	if err != nil {
		return control.BackupInfo{}, nil, err
	}
	return a.backupInfo(ctx, h, id)
}

func (a *Agent) backupInfo(ctx context.Context, h *ha.Head, id string) (control.BackupInfo, *backup.Manifest, error) {
	info, m, err := a.chain.FindFrom(ctx, h, id)
	info.Cached, info.Rehearsals = a.cached.Has(info.ID), a.rehearsedOn()[info.ID]
	a.addDamage(&info)
	return info, m, err
}

// addDamage says what is known to be wrong with a backup in the bucket.
func (a *Agent) addDamage(b *control.BackupInfo) {
	if text := a.packs.Damage(b.ID); text != "" {
		b.Warnings = append(slices.Clone(b.Warnings), text)
	}
	if why := a.objects.Damage(b.Key); why != "" && b.Damaged == "" {
		b.Warnings = append(slices.Clone(b.Warnings), "its manifest cannot be used from the bucket, and was read from a cache or an earlier version: "+why)
	}
}

// ClusterHistory reads a page of the cluster's audit log.
func (a *Agent) ClusterHistory(ctx context.Context, before string, limit int) (control.ClusterHistory, error) {
	seen := a.state.View().Seen
	h, err := a.control.Head(ctx)
	if err != nil {
		return control.ClusterHistory{}, err
	}
	var keep time.Duration
	if c, err := a.configs.With(ctx, h.Config); err == nil {
		keep = a.rules.Effect(c).Effective.Keep
	}
	page, err := a.auditLog.PageFrom(ctx, h, keep, before, limit)
	page.OlderHead = control.OlderText(h, seen)
	return page, err
}

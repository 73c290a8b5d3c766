package agent

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/ha"
)

// DefaultHistory is how many backups a page lists unless told otherwise.
const DefaultHistory = 200

// BackupList is a page of the cluster's history.
type BackupList struct {
	Backups []BackupInfo `json:"backups" nullable:"false"`
	// Next is what to ask for to get the page that follows: the id of this
	// page's last backup. Empty: nothing follows.
	Next string `json:"next,omitempty"`
	// Damaged are the control objects that cannot be verified. A backup that
	// only such an object names is not listed.
	Damaged []DamagedObject `json:"damaged,omitempty"`
	// OlderHead says that the bucket shows an older head than this instance has
	// seen, so that newer backups may be missing; "": it does not.
	OlderHead string `json:"older_head,omitempty"`
}

// DamagedObject is an object of the bucket that cannot be verified.
type DamagedObject struct {
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

// History lists the backups of the cluster, newest first: those that the head
// leads to, those that promotions have cut off, and salvage backups; at most
// limit (0: DefaultHistory) of those that come after the one with the id before
// ("": from the newest on), and none older than retention, except the newest,
// nor one that only a retired key has signed. One whose manifest is damaged is
// listed with the reason, and the others go on. It needs no running agent.
func (b *Bucket) History(ctx context.Context, before string, limit int) (BackupList, error) {
	p, err := pageOf(before, limit)
	if err != nil {
		return BackupList{}, err
	}
	h, err := b.Head(ctx)
	if err != nil {
		return BackupList{}, err
	}
	var retention time.Duration
	if object, _, err := b.read(ctx, ha.KindConfig, ha.ConfigKey(h.Config), ""); err == nil {
		retention = time.Duration(object.(*ha.Config).Retention)
	}
	list, err := b.walk(ctx, h, newManifests(b.Repository(), nil), retention, p)
	if err != nil {
		return list, err
	}
	rehearsed, err := b.rehearsedOn(ctx)
	for i := range list.Backups {
		list.Backups[i].Rehearsals = rehearsed[list.Backups[i].ID]
	}
	return list, err
}

// page is a part of the history: at most limit backups (0: DefaultHistory),
// those that come after one in the list.
type page struct {
	limit int
	after *backup.Ref // nil: from the newest on
}

func pageOf(before string, limit int) (page, error) {
	p := page{limit: limit}
	if before == "" {
		return p, nil
	}
	after, err := backup.ParseID(before)
	if err != nil {
		return p, invalid("%v", err)
	}
	p.after = &after
	return p, nil
}

func (p page) size() int {
	if p.limit <= 0 {
		return DefaultHistory
	}
	return p.limit
}

func (p page) has(ref backup.Ref) bool { return p.after == nil || newestFirst(ref, *p.after) > 0 }

// cut makes a page of all that it has, and of what follows it.
func (p page) cut(all []BackupInfo) BackupList {
	slices.SortStableFunc(all, func(x, y BackupInfo) int { return newestFirst(x.Ref, y.Ref) })
	list := BackupList{Backups: all}
	if len(all) > p.size() {
		list.Backups = all[:p.size()]
		list.Next = list.Backups[p.size()-1].ID
	}
	return list
}

// newestFirst is the order in which people see backups: by when they were made,
// whatever their epoch, so that a salvage backup stands among those of its time.
// The times are by the clocks of those who made them. Nothing is decided by this
// order: the protocol goes by (epoch, sequence).
func newestFirst(x, y backup.Ref) int {
	return cmp.Or(y.Time.Truncate(time.Second).Compare(x.Time.Truncate(time.Second)),
		cmp.Compare(y.Sequence, x.Sequence), cmp.Compare(y.Epoch, x.Epoch), strings.Compare(y.ID, x.ID))
}

func backupInfo(ref backup.Ref, m *backup.Manifest) BackupInfo {
	return BackupInfo{
		Ref: ref, Trigger: m.Trigger, By: m.By, Reason: m.Reason, Instance: m.Instance, AppVersion: m.AppVersion, Version: m.Version,
		Duration: m.Duration, Size: m.Size, Changed: m.Changed, Sources: sourceInfos(m.Sources), Warnings: m.Warnings,
	}
}

// damagedInfo describes a backup whose manifest cannot be used.
func damagedInfo(ref backup.Ref, err error) BackupInfo {
	info := BackupInfo{Ref: ref, Sources: []SourceInfo{}}
	if err != nil {
		info.Damaged = err.Error()
	}
	return info
}

// Backups is the cluster's history, with what this instance has cached. While
// the bucket does not answer it is what the cache holds.
func (a *Agent) Backups(ctx context.Context, limit int) ([]BackupInfo, error) {
	list, err := a.BackupsAfter(ctx, "", limit)
	return list.Backups, err
}

// BackupsAfter is the part of the history that comes after the backup with this
// id in the list, which need not be there any more; "" is the beginning.
func (a *Agent) BackupsAfter(ctx context.Context, id string, limit int) (BackupList, error) {
	p, err := pageOf(id, limit)
	if err != nil {
		return BackupList{}, err
	}
	return a.backups(ctx, p)
}

func (a *Agent) backups(ctx context.Context, p page) (BackupList, error) {
	seen := a.view().Seen
	a.objects.asked()
	h, err := a.bucket.Head(ctx)
	if err != nil {
		if unreachable(err) {
			return a.cachedBackups(p), nil
		}
		return BackupList{}, err
	}
	var retention time.Duration
	if c, err := a.configs.get(ctx, h.Config); err == nil {
		retention = a.standing(c).Effective.Keep
	}
	list, err := a.bucket.walk(ctx, h, a.history, retention, p)
	if err != nil {
		return list, err
	}
	list.OlderHead = olderText(h, seen)
	rehearsed := a.rehearsedOn()
	for i := range list.Backups {
		b := &list.Backups[i]
		b.Cached, b.Rehearsals = a.isCached(b.ID), rehearsed[b.ID]
		a.addDamage(b)
	}
	return list, nil
}

// cachedBackups lists what the cache holds. A damaged manifest is listed with
// the reason.
func (a *Agent) cachedBackups(p page) BackupList {
	var all []BackupInfo
	rehearsed := a.rehearsedOn()
	for _, ref := range a.cached() {
		if !p.has(ref) {
			continue
		}
		_, m, err := a.cache.Manifest(a.repo, ref.ID)
		if errors.Is(err, seal.ErrUnknownKey) {
			continue
		}
		info := damagedInfo(ref, err)
		if err == nil {
			info = backupInfo(ref, m)
		}
		info.Cached, info.Salvage, info.Rehearsals = true, ref.IsSalvage(), rehearsed[ref.ID]
		all = append(all, info)
	}
	return p.cut(all)
}

// BackupInfo describes the backup with this id ("" for the newest), with its
// verified manifest. An unknown id is ErrNoBackup.
func (a *Agent) BackupInfo(ctx context.Context, id string) (BackupInfo, *backup.Manifest, error) {
	h, err := a.bucket.Head(ctx)
	if err != nil {
		return BackupInfo{}, nil, err
	}
	return a.backupInfo(ctx, h, id)
}

func (a *Agent) backupInfo(ctx context.Context, h *ha.Head, id string) (BackupInfo, *backup.Manifest, error) {
	info, m, err := a.bucket.find(ctx, h, a.history, id)
	info.Cached, info.Rehearsals = a.isCached(info.ID), a.rehearsedOn()[info.ID]
	a.addDamage(&info)
	return info, m, err
}

// addDamage says what is known to be wrong with a backup in the bucket.
func (a *Agent) addDamage(b *BackupInfo) {
	if text := a.packs.damage(b.ID); text != "" {
		b.Warnings = append(slices.Clone(b.Warnings), text)
	}
	if why := a.objects.damage(b.Key); why != "" && b.Damaged == "" {
		b.Warnings = append(slices.Clone(b.Warnings), "its manifest cannot be used from the bucket, and was read from a cache or an earlier version: "+why)
	}
}

// olderText says that a head is older than one that this instance had seen before
// it was read; "" when it is not.
func olderText(h *ha.Head, seen ha.Position) string {
	if h.IsOlder(seen) {
		return ha.OlderText(h, seen)
	}
	return ""
}

func (a *Agent) isCached(id string) bool {
	return slices.ContainsFunc(a.cached(), func(r backup.Ref) bool { return r.ID == id })
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// DefaultHistory is how many backups History lists unless told otherwise.
const DefaultHistory = 200

// tip is where a branch of the history begins, backwards.
type tip struct {
	ref        backup.Ref
	superseded bool
	salvage    bool
}

// History lists the backups of the cluster, newest first by (epoch, sequence):
// those that the head leads to, those that promotions have cut off, and
// salvage backups; at most limit (0: DefaultHistory), and none older than
// retention, except the newest, nor one that only a retired key has signed. It
// needs no running agent.
func (b *Bucket) History(ctx context.Context, limit int) ([]BackupInfo, error) {
	h, err := b.Head(ctx)
	if err != nil {
		return nil, err
	}
	var retention time.Duration
	if object, _, err := b.read(ctx, ha.KindConfig, ha.ConfigKey(h.Config), ""); err == nil {
		retention = time.Duration(object.(*ha.Config).Retention)
	}
	all, err := b.walk(ctx, h, newManifests(b.Repository(), nil), retention, page{limit: limit})
	if err != nil {
		return nil, err
	}
	rehearsed, err := b.rehearsedOn(ctx)
	for i := range all {
		all[i].Rehearsals = rehearsed[all[i].ID]
	}
	return all, err
}

// page is a part of the history: at most limit backups (0: DefaultHistory),
// those that come after one in the list.
type page struct {
	limit int
	after *backup.Ref // nil: from the newest on
}

func (p page) size() int {
	if p.limit <= 0 {
		return DefaultHistory
	}
	return p.limit
}

func (p page) has(ref backup.Ref) bool { return p.after == nil || newestFirst(ref, *p.after) > 0 }

// walk follows every branch of the history.
func (b *Bucket) walk(ctx context.Context, h *ha.Head, known *manifests, retention time.Duration, p page) ([]BackupInfo, error) {
	var oldest time.Time
	if retention > 0 {
		oldest = b.storeTime().Add(-retention)
	}
	tips, err := b.tips(ctx, h, oldest)
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	var all []BackupInfo
	for _, t := range tips {
		n := 0
		for ref := &t.ref; ref != nil && !seen[ref.ID] && n < p.size(); {
			newest := h.Newest != nil && ref.ID == h.Newest.ID
			if ref.Time.Before(oldest) && !newest { // the newest is kept however old it is
				break
			}
			info, previous, err := known.info(ctx, *ref)
			if errors.Is(err, blobstore.ErrNotFound) || errors.Is(err, seal.ErrUnknownKey) {
				break // expired, or signed by nothing but a key that has been retired
			}
			if err != nil {
				return nil, err
			}
			seen[ref.ID] = true
			if p.has(*ref) {
				info.Superseded, info.Salvage = t.superseded, ref.IsSalvage()
				info.Newest = newest
				all = append(all, info)
				n++
			}
			if ref = previous; t.salvage {
				break // what it was made on top of is in a chain of its own
			}
		}
	}
	slices.SortStableFunc(all, func(x, y BackupInfo) int { return newestFirst(x.Ref, y.Ref) })
	return all[:min(p.size(), len(all))], nil
}

func newestFirst(x, y backup.Ref) int {
	switch {
	case x.Epoch != y.Epoch:
		return sign(x.Epoch < y.Epoch)
	case x.Sequence != y.Sequence:
		return sign(x.Sequence < y.Sequence)
	}
	return strings.Compare(y.ID, x.ID)
}

func sign(after bool) int {
	if after {
		return 1
	}
	return -1
}

// tips gives the branches: the head's first, then those that were cut off,
// newest first, then salvage backups. What was written before oldest leads to
// nothing that is still there.
func (b *Bucket) tips(ctx context.Context, h *ha.Head, oldest time.Time) ([]tip, error) {
	var tips []tip
	if h.Newest != nil {
		tips = append(tips, tip{ref: *h.Newest})
	}
	if h.CutOff != nil {
		tips = append(tips, tip{ref: *h.CutOff, superseded: true})
	}
	const folder = "demote/"
	listed, names, err := b.names(ctx, folder)
	if err != nil {
		return nil, err
	}
	for i, name := range slices.Backward(names) {
		kind := ha.KindMarker
		switch {
		case listed[i].Time.Before(oldest):
			continue
		case strings.HasSuffix(name, ".salvage"):
			kind = ha.KindSalvage
		case strings.HasSuffix(name, ".ack"):
			continue
		}
		object, _, err := b.read(ctx, kind, folder+name+".json", "")
		switch {
		case errors.Is(err, ErrUnverified), errors.Is(err, blobstore.ErrNotFound):
			continue // it leads nowhere
		case err != nil:
			return nil, err
		}
		switch o := object.(type) {
		case *ha.Marker:
			if o.CutOff != nil {
				tips = append(tips, tip{ref: *o.CutOff, superseded: true})
			}
		case *ha.SalvageRecord:
			if o.Backup != nil {
				tips = append(tips, tip{ref: *o.Backup, salvage: true})
			}
		}
	}
	slices.SortStableFunc(tips, func(x, y tip) int { return rank(x) - rank(y) })
	return tips, nil
}

func rank(t tip) int {
	switch {
	case t.salvage:
		return 2
	case t.superseded:
		return 1
	}
	return 0
}

func backupInfo(ref backup.Ref, m *backup.Manifest) BackupInfo {
	return BackupInfo{
		Ref: ref, Trigger: m.Trigger, By: m.By, Reason: m.Reason, Instance: m.Instance, AppVersion: m.AppVersion, Version: m.Version,
		Duration: m.Duration, Size: m.Size, Changed: m.Changed, Sources: sourceInfos(m.Sources), Warnings: m.Warnings,
	}
}

// Find describes the backup with this id ("" for the newest), with its verified
// manifest. An unknown id is ErrNoBackup. It needs no running agent.
func (b *Bucket) Find(ctx context.Context, id string) (BackupInfo, *backup.Manifest, error) {
	h, err := b.Head(ctx)
	if err != nil {
		return BackupInfo{}, nil, err
	}
	info, m, err := b.find(ctx, h, newManifests(b.Repository(), nil), id)
	if err != nil {
		return info, m, err
	}
	rehearsed, err := b.rehearsedOn(ctx)
	info.Rehearsals = rehearsed[info.ID]
	return info, m, err
}

func (b *Bucket) find(ctx context.Context, h *ha.Head, known *manifests, id string) (BackupInfo, *backup.Manifest, error) {
	if h.Newest == nil {
		return BackupInfo{}, nil, &ha.Refusal{Reason: "the cluster has no backup yet"}
	}
	if id == "" || id == h.Newest.ID {
		m, err := known.get(ctx, *h.Newest)
		if err != nil {
			return BackupInfo{}, nil, err
		}
		info := backupInfo(*h.Newest, m)
		info.Newest, info.Salvage = true, h.Newest.IsSalvage()
		return info, m, nil
	}
	all, err := b.walk(ctx, h, known, 0, page{limit: allHistory})
	if err != nil {
		return BackupInfo{}, nil, err
	}
	for _, info := range all {
		if info.ID == id {
			m, err := known.get(ctx, info.Ref)
			return info, m, err
		}
	}
	return BackupInfo{}, nil, fmt.Errorf("%w: %s", ErrNoBackup, id)
}

// allHistory is more backups than any cluster has.
const allHistory = 1 << 30

// ErrNoBackup means that no backup has the id that was asked for.
var ErrNoBackup = errors.New("there is no such backup (understudy backups lists them)")

// Backups is the cluster's history, with what this instance has cached. While
// the bucket does not answer it is what the cache holds.
func (a *Agent) Backups(ctx context.Context, limit int) ([]BackupInfo, error) {
	return a.BackupsAfter(ctx, "", limit)
}

// BackupsAfter is the part of Backups that comes after the one with this id in
// the list, which need not be there any more; "" is the beginning.
func (a *Agent) BackupsAfter(ctx context.Context, id string, limit int) ([]BackupInfo, error) {
	p := page{limit: limit}
	if id != "" {
		after, err := parseBackupID(id)
		if err != nil {
			return nil, err
		}
		p.after = &after
	}
	return a.backups(ctx, p)
}

// backupID is how ids of backups look, those of salvage backups too.
var backupID = regexp.MustCompile(`^\d{8}T\d{6}Z-e(\d{1,18})-s(\d{1,18})-[0-9a-z]+$`)

// parseBackupID reads a backup's place in the history from its id.
func parseBackupID(id string) (backup.Ref, error) {
	part := backupID.FindStringSubmatch(id)
	if part == nil {
		return backup.Ref{}, invalid("%q is no backup's id", id)
	}
	ref := backup.Ref{ID: id}
	ref.Epoch, _ = strconv.ParseUint(part[1], 10, 64) // digits that fit, as the pattern says
	ref.Sequence, _ = strconv.ParseUint(part[2], 10, 64)
	return ref, nil
}

func (a *Agent) backups(ctx context.Context, p page) ([]BackupInfo, error) {
	h, err := a.bucket.Head(ctx)
	if err != nil {
		if unreachable(err) {
			return a.cachedBackups(p)
		}
		return nil, err
	}
	var retention time.Duration
	if c, err := a.configs.get(ctx, h.Config); err == nil {
		retention = a.standing(c).Effective.Keep
	}
	all, err := a.bucket.walk(ctx, h, a.history, retention, p)
	if err != nil {
		return nil, err
	}
	rehearsed := a.rehearsedOn()
	for i := range all {
		all[i].Cached, all[i].Rehearsals = a.isCached(all[i].ID), rehearsed[all[i].ID]
	}
	return all, nil
}

func (a *Agent) cachedBackups(p page) ([]BackupInfo, error) {
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
		if err != nil {
			return nil, err
		}
		info := backupInfo(ref, m)
		info.Cached, info.Salvage, info.Rehearsals = true, ref.IsSalvage(), rehearsed[ref.ID]
		all = append(all, info)
	}
	return all[:min(p.size(), len(all))], nil
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
	return info, m, err
}

func (a *Agent) isCached(id string) bool {
	return slices.ContainsFunc(a.cached(), func(r backup.Ref) bool { return r.ID == id })
}

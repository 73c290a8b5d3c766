package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// The active looks whether the packs that backups refer to are in the bucket, once an
// hour, with a list, and reads what has changed. What is missing is put back from a cache that has
// it, and until then no backup refers to it: the next one reads and stores again
// what was in it.
const (
	PacksEvery  = time.Hour        // between two looks
	PacksSpread = 10 * time.Minute // within which the first one comes
	packsAgain  = time.Minute      // between two looks at those that are missing
	Listed      = 10_000           // up to how many packs a backup that is asked for looks as well
	packsTold   = 64               // how many missing ones a record names
)

// Packs looks after the packs in the bucket, and knows which are missing. It is safe
// for concurrent use.
type Packs struct {
	host    Host
	rules   *Rules
	locks   *Locks
	backups Backups
	misses  Misses

	lost
	kick     chan struct{} // somebody has seen that something is missing
	referred referred
	contents packContents
	returned []string // what the active said that it misses when this instance last put back what it could; its goroutine's
}

// Misses tells which packs the active says that it misses; false: it says nothing.
type Misses func() (names []string, known bool)

// NewPacks knows of nothing that is missing.
func NewPacks(h Host, rules *Rules, locks *Locks, backups Backups, misses Misses) *Packs {
	return &Packs{
		host: h, rules: rules, locks: locks, backups: backups, misses: misses,
		lost: newLost(), kick: make(chan struct{}, 1),
	}
}

// LookSoon has the packs looked at as soon as can be.
func (p *Packs) LookSoon() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// Run looks after the packs in the bucket until ctx is done: on the active at those of
// the newest backup, elsewhere at those that the active misses.
func (p *Packs) Run(ctx context.Context) error {
	next := p.host.Clock.Now().Mono + Spread(p.host.Self.Incarnation, PacksSpread)
	for kicked := false; ; {
		now := p.host.Clock.Now().Mono
		switch leading := p.host.Cluster.View().Leading; {
		case leading && (kicked || now >= next || p.isUnlisted()):
			p.lookForManifest(ctx)
			p.lookForPacks(ctx)
			next = now + PacksEvery
		case leading && !p.isWhole():
			p.recheckPacks(ctx)
		case leading:
		default:
			p.returnPacks(ctx)
		}
		timer := time.NewTimer(packsAgain)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
			kicked = false
		case <-p.kick:
			timer.Stop()
			kicked = true
		}
	}
}

// lookForPacks lists the packs, and compares with what the newest backup needs.
func (p *Packs) lookForPacks(ctx context.Context) {
	const key = "look"
	missing, err := p.missingPacks(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		p.host.Log.Trouble(ctx, PacksKind, key, fmt.Sprintf("it cannot be looked whether the packs of the backups are in the bucket: %v", err))
	default:
		p.host.Log.TroubleOver(ctx, PacksKind, key, "the packs of the backups can be looked at again")
		p.lostPacks(ctx, missing)
		p.recheckPacks(ctx)
		p.findHit(ctx)
	}
}

// missingPacks gives the packs that backups need, as far as their branches were
// read, and the bucket lacks, or has with other bytes.
func (p *Packs) missingPacks(ctx context.Context) ([]pack.Info, error) {
	h := p.host.Cluster.View().Head
	if h == nil || h.Newest == nil {
		return nil, nil
	}
	m, err := p.host.Chain.Manifest(ctx, *h.Newest)
	if err != nil {
		return nil, err
	}
	needed := m.Named()
	_, index, err := p.host.Repo.Open(ctx, m, p.host.Cache.Through(p.host.Repo))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, pack.ErrCorrupt):
	case err != nil:
		return nil, err
	default:
		needed = index.Packs()
	}
	oldest, reuse := p.kept(ctx, h)
	branches, err := p.host.Chain.Branches(ctx, h, oldest)
	if err != nil {
		return nil, err
	}
	if err := p.referred.read(ctx, p, *h.Newest, branches, oldest, reuse); err != nil {
		return nil, err
	}
	all := p.referred.packs(needed)
	p.prune(all, oldest)
	return p.lookInto(ctx, all)
}

// lostPacks takes in that packs are missing: what this instance's own cache has
// is put back, the rest is told, and a backup is asked for that stores again
// what was in them.
func (p *Packs) lostPacks(ctx context.Context, missing []pack.Info) {
	var left []pack.Info
	for _, lost := range missing {
		if back, err := p.PutBack(ctx, lost); !back {
			left = append(left, lost)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				p.host.Logger.DebugContext(ctx, "a missing pack cannot be put back", "pack", lost.Digest, "error", err)
			}
		}
	}
	if returned := len(missing) - len(left); returned > 0 {
		p.host.Log.Note(ctx, event.Alarm, PacksKind, fmt.Sprintf("%d packs were missing from the bucket, or damaged there, and were put back from this instance's cache: who deletes there?", returned), nil)
	}
	if len(left) == 0 || !p.NoteLost(ctx, left) {
		return
	}
	if err := p.backups.BackupSoon(event.WithActor(ctx, "understudy"), backup.Task, "packs are missing from the bucket"); err != nil {
		p.host.Log.Note(ctx, event.Warn, PacksKind, fmt.Sprintf("no backup could be asked for to store again what is missing: %v", err), nil)
	}
}

// NoteLost raises the alarm about packs that are missing, if they are news.
func (p *Packs) NoteLost(ctx context.Context, missing []pack.Info) (news bool) {
	if !p.add(missing) {
		return false
	}
	p.findHit(ctx)
	p.tellMissing(ctx)
	return true
}

// tellMissing raises the alarm about what is missing.
func (p *Packs) tellMissing(ctx context.Context) {
	missing := p.list()
	var names []string
	for _, p := range missing[:min(len(missing), 3)] {
		names = append(names, p.Digest.Key())
	}
	if len(missing) > len(names) {
		names = append(names, "…")
	}
	ids := p.Hit()
	hit := "no backup that is kept is known to need them yet"
	if len(ids) > 0 {
		hit = fmt.Sprintf("%d backups need them, from %s to %s, and cannot be restored whole from it", len(ids), ids[0], ids[len(ids)-1])
	}
	p.host.Log.Trouble(ctx, PacksKind, "missing", fmt.Sprintf("%d packs are missing from the bucket, or cut short or changed there (%s); %s. "+
		"What was in them is stored again with the next backup; a standby that has them cached puts them back. Find out who deletes there", len(missing), strings.Join(names, ", "), hit))
}

// mostHit is how many backups are looked at, at once, for what needs a missing pack.
const mostHit = 500

// findHit finds the backups that need what is missing, from the newest on backwards,
// and of the other branches, as far as these were read.
func (p *Packs) findHit(ctx context.Context) {
	gone, h := p.gone(), p.host.Cluster.View().Head
	if h == nil || len(gone) == 0 {
		return
	}
	packs := p.host.Cache.Through(p.host.Repo)
	left := mostHit
	look := func(ref backup.Ref) *backup.Manifest {
		m, err := p.host.Chain.Manifest(ctx, ref)
		if err != nil {
			return nil
		}
		left--
		p.noteHit(ref.ID, p.lacks(ctx, m, packs, gone))
		return m
	}
	for ref := h.Newest; ref != nil && left > 0 && !p.referred.knows(ref.ID); {
		m := look(*ref)
		if m == nil {
			break
		}
		ref = m.Previous
	}
	for _, ref := range p.referred.list() {
		if left == 0 || ctx.Err() != nil {
			return
		}
		if p.isToCheck(ref.ID) {
			look(ref)
		}
	}
}

// lacks counts the packs that a backup needs and that are gone.
func (p *Packs) lacks(ctx context.Context, m *backup.Manifest, packs pack.Packs, gone map[pack.Digest]bool) (n int) {
	_, index, err := p.host.Repo.Open(ctx, m, packs)
	switch {
	case err == nil:
		for _, p := range index.Packs() {
			if gone[p.Digest] {
				n++
			}
		}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, pack.ErrCorrupt):
		n = 1
	}
	return n
}

// recheckPacks looks again at what is missing.
func (p *Packs) recheckPacks(ctx context.Context) {
	missing := p.list()
	if len(missing) == 0 {
		return
	}
	there := make([]bool, len(missing))
	err := control.InParallel(ctx, len(missing), func(i int) error {
		there[i] = p.isThere(ctx, missing[i])
		return ctx.Err()
	})
	if err != nil {
		return
	}
	var back []pack.Digest
	for i, p := range missing {
		if there[i] {
			back = append(back, p.Digest)
		}
	}
	left := p.back(back...)
	if len(back) > 0 {
		p.findHit(ctx)
	}
	if left == 0 {
		p.host.Log.TroubleOver(ctx, PacksKind, "missing", "every pack that was missing from the bucket is there again")
	}
}

// StoredAgain follows a backup that does without what was known to be missing
// when it began: it is whole, and those before it stay as they are. A standby
// may still put back what they need.
func (p *Packs) StoredAgain(ctx context.Context, full bool) {
	news, hit := p.settle(full)
	if news {
		p.host.Log.TroubleOver(ctx, PacksKind, "missing", fmt.Sprintf("what was missing from the bucket is stored again: the newest backup is whole; %d backups before it need packs that are gone, and say so, until a standby puts these back", hit))
	}
}

// PutBack puts a pack into the bucket that this instance's cache has. The same
// bytes under the same name do no harm.
func (p *Packs) PutBack(ctx context.Context, lost pack.Info) (bool, error) {
	data, err := p.host.Cache.WholePack(ctx, lost.Digest)
	if err != nil {
		return false, err
	}
	if _, err := p.host.Store.Put(ctx, lost.Digest.Key(), data, blobstore.Always.Locked(p.locks.For(p.rules.PackLife())).Hashed(lost.Digest)); err != nil {
		return false, fmt.Errorf("put back %s: %w", lost.Digest.Key(), err)
	}
	return true, nil
}

// returnPacks puts back what is missing from the bucket and cached here, when
// the active says that it misses something. All that is cached is compared: the
// active may not know of everything.
func (p *Packs) returnPacks(ctx context.Context) {
	missing, known := p.misses()
	if !known || slices.Equal(missing, p.returned) {
		return
	}
	n := 0
	needed, err := p.host.Cache.Needed()
	if err == nil && len(missing) > 0 {
		n, err = p.returnMissing(ctx, needed, missing)
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		p.host.Log.Note(ctx, event.Warn, PacksKind, fmt.Sprintf("what is missing from the bucket cannot be put back from this instance's cache: %v", err), nil)
	default:
		p.returned = missing
	}
	if n > 0 {
		p.host.Log.Note(ctx, event.Warn, PacksKind, fmt.Sprintf("%d packs that were missing from the bucket, or damaged there, were put back from this instance's cache", n), nil)
	}
}

// returnMissing puts back those of the cached packs that the bucket lacks, and those
// that are named and damaged there.
func (p *Packs) returnMissing(ctx context.Context, cached []pack.Info, named []string) (n int, err error) {
	missing, err := p.host.Repo.Missing(ctx, cached)
	if err == nil {
		var damaged []pack.Info
		damaged, err = p.damagedOf(ctx, cached, named)
		missing = append(missing, damaged...)
	}
	for _, lost := range missing {
		back, failed := p.PutBack(ctx, lost)
		if back {
			n++
		} else if !errors.Is(failed, fs.ErrNotExist) {
			err = errors.Join(err, failed)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return n, err
}

// lookForManifest has a backup made when the newest one's manifest is missing
// from the bucket, or damaged there.
func (p *Packs) lookForManifest(ctx context.Context) {
	const key = "manifest"
	h := p.host.Cluster.View().Head
	if h == nil || h.Newest == nil {
		return
	}
	_, err := p.host.Repo.Current().Load(ctx, *h.Newest)
	p.setUnlisted(err != nil)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		p.host.Log.TroubleOver(ctx, PacksKind, key, "the manifest of the newest backup is in the bucket")
	case !backup.Damaged(err) && !errors.Is(err, blobstore.ErrNotFound):
		p.host.Log.Trouble(ctx, PacksKind, key, fmt.Sprintf("it cannot be looked whether the manifest of the newest backup is in the bucket: %v", err))
	default:
		p.host.Log.Trouble(ctx, PacksKind, key, fmt.Sprintf("the manifest of the newest backup, %s, is missing from the bucket, or damaged there: %v. A backup is made in its place. Find out who writes or deletes there", h.Newest.ID, err))
		if err := p.backups.BackupSoon(event.WithActor(ctx, "understudy"), backup.Task, "the newest backup's manifest is damaged"); err != nil {
			p.host.Log.Note(ctx, event.Warn, PacksKind, fmt.Sprintf("no backup could be asked for in place of the newest one: %v", err), nil)
		}
	}
}

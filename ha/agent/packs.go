package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// The active looks whether the packs that backups refer to are in the bucket, once an
// hour, with a list, and reads what has changed. What is missing is put back from a cache that has
// it, and until then no backup refers to it: the next one reads and stores again
// what was in it.
const (
	packsEvery  = time.Hour        // between two looks
	packsSpread = 10 * time.Minute // within which the first one comes
	packsAgain  = time.Minute      // between two looks at those that are missing
	packsListed = 10_000           // up to how many packs a backup that is asked for looks as well
	packsTold   = 64               // how many missing ones a record names
)

const packsKind = "packs"

// packs knows which packs are missing from the bucket. It is safe for concurrent
// use.
type packs struct {
	mu      sync.Mutex
	missing map[pack.Digest]pack.Info
	hit     map[string]string // id of a backup that needs one → what is wrong with it
	whole   bool              // the newest backup does without what is missing
	full    bool              // the next backup is to be a full one
	// unlisted says that the newest backup's manifest was not there when it was
	// looked for.
	unlisted bool
	kick     chan struct{} // somebody has seen that something is missing

	// rotten are those of the missing ones that are there, and are not what their
	// names say, with the versions that were found so.
	rotten  map[pack.Digest]version
	checked map[string]int // of a backup's id: how many rounds of losses it was looked at for
	losses  int            // how often something more was missing

	referred referred
	contents packContents
	returned []string // what the active said that it misses when this instance last put back what it could; its goroutine's
}

func newPacks() packs {
	return packs{missing: make(map[pack.Digest]pack.Info), rotten: make(map[pack.Digest]version), hit: make(map[string]string), checked: make(map[string]int), kick: make(chan struct{}, 1)}
}

// gone gives the digests that are missing.
func (p *packs) gone() map[pack.Digest]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := make(map[pack.Digest]bool, len(p.missing))
	for d := range p.missing {
		gone[d] = true
	}
	return gone
}

// list gives the packs that are missing, in order.
func (p *packs) list() []pack.Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]pack.Info, 0, len(p.missing))
	for _, info := range p.missing {
		all = append(all, info)
	}
	slices.SortFunc(all, func(x, y pack.Info) int { return bytes.Compare(x.Digest[:], y.Digest[:]) })
	return all
}

// add notes missing packs, and reports whether one is new.
func (p *packs) add(missing []pack.Info) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, info := range missing {
		if _, known := p.missing[info.Digest]; !known {
			news = true
		}
		p.missing[info.Digest] = info
	}
	if news {
		p.whole = false
		p.losses++
	}
	return news
}

// back notes that packs are there again, and returns how many are missing still.
func (p *packs) back(there ...pack.Digest) (left int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range there {
		delete(p.missing, d)
		delete(p.rotten, d)
	}
	if len(there) > 0 { // whom the rest hits is found out anew
		clear(p.hit)
		clear(p.checked)
	}
	return len(p.missing)
}

// damage says what is known to be wrong with a backup; "": nothing.
func (p *packs) damage(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hit[id]
}

// RequireFull makes the next backup read everything and store it again.
func (a *Agent) RequireFull(ctx context.Context) error {
	if core := a.view(); core.Role != ha.RoleActive || core.Refused != "" {
		return &ha.Refusal{Reason: "this instance is not the active: backups are made there"}
	}
	a.packs.mu.Lock()
	a.packs.full = true
	a.packs.mu.Unlock()
	a.note(ctx, event.Info, "backup", "the next backup reads everything again, and refers to no earlier pack", nil)
	return nil
}

// lookSoon has the packs looked at as soon as can be.
func (a *Agent) lookSoon() {
	select {
	case a.packs.kick <- struct{}{}:
	default:
	}
}

// keepPacks looks after the packs in the bucket: on the active at those of the
// newest backup, elsewhere at those that the active misses.
func (a *Agent) keepPacks(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-a.admitted:
	}
	next := a.cfg.Clock.Now().Mono + time.Duration(spread(a.self.Incarnation)*float64(packsSpread))
	for kicked := false; ; {
		now := a.cfg.Clock.Now().Mono
		switch leading := a.view().Leading; {
		case leading && (kicked || now >= next || a.packs.isUnlisted()):
			a.lookForManifest(ctx)
			a.lookForPacks(ctx)
			next = now + packsEvery
		case leading && !a.packs.isWhole():
			a.recheckPacks(ctx)
		case leading:
		default:
			a.returnPacks(ctx)
		}
		timer := time.NewTimer(packsAgain)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
			kicked = false
		case <-a.packs.kick:
			timer.Stop()
			kicked = true
		}
	}
}

// lookForPacks lists the packs, and compares with what the newest backup needs.
func (a *Agent) lookForPacks(ctx context.Context) {
	const key = "look"
	missing, err := a.missingPacks(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		a.trouble(ctx, packsKind, key, fmt.Sprintf("it cannot be looked whether the packs of the backups are in the bucket: %v", err))
	default:
		a.troubleOver(ctx, packsKind, key, "the packs of the backups can be looked at again")
		a.lostPacks(ctx, missing)
		a.recheckPacks(ctx)
		a.findHit(ctx)
	}
}

// missingPacks gives the packs that backups need, as far as their branches were
// read, and the bucket lacks, or has with other bytes.
func (a *Agent) missingPacks(ctx context.Context) ([]pack.Info, error) {
	h := a.view().Head
	if h == nil || h.Newest == nil {
		return nil, nil
	}
	m, err := a.chain.Manifest(ctx, *h.Newest)
	if err != nil {
		return nil, err
	}
	needed := m.Named()
	_, index, err := a.repo.Open(ctx, m, a.cache.Through(a.repo))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, pack.ErrCorrupt):
	case err != nil:
		return nil, err
	default:
		needed = index.Packs()
	}
	oldest, reuse := a.kept(ctx, h)
	branches, err := a.chain.Branches(ctx, h, oldest)
	if err != nil {
		return nil, err
	}
	if err := a.packs.referred.read(ctx, a, *h.Newest, branches, oldest, reuse); err != nil {
		return nil, err
	}
	all := a.packs.referred.packs(needed)
	a.packs.prune(all, oldest)
	return a.lookInto(ctx, all)
}

// lostPacks takes in that packs are missing: what this instance's own cache has
// is put back, the rest is told, and a backup is asked for that stores again
// what was in them.
func (a *Agent) lostPacks(ctx context.Context, missing []pack.Info) {
	var left []pack.Info
	for _, p := range missing {
		if back, err := a.putBack(ctx, p); !back {
			left = append(left, p)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				a.cfg.Logger.DebugContext(ctx, "a missing pack cannot be put back", "pack", p.Digest, "error", err)
			}
		}
	}
	if returned := len(missing) - len(left); returned > 0 {
		a.note(ctx, event.Alarm, packsKind, fmt.Sprintf("%d packs were missing from the bucket, or damaged there, and were put back from this instance's cache: who deletes there?", returned), nil)
	}
	if len(left) == 0 || !a.noteLost(ctx, left) {
		return
	}
	if err := a.BackupSoon(event.WithActor(ctx, "understudy"), backup.Task, "packs are missing from the bucket"); err != nil {
		a.note(ctx, event.Warn, packsKind, fmt.Sprintf("no backup could be asked for to store again what is missing: %v", err), nil)
	}
}

// noteLost raises the alarm about packs that are missing, if they are news.
func (a *Agent) noteLost(ctx context.Context, missing []pack.Info) (news bool) {
	if !a.packs.add(missing) {
		return false
	}
	a.findHit(ctx)
	a.tellMissing(ctx)
	return true
}

// tellMissing raises the alarm about what is missing.
func (a *Agent) tellMissing(ctx context.Context) {
	missing := a.packs.list()
	var names []string
	for _, p := range missing[:min(len(missing), 3)] {
		names = append(names, p.Digest.Key())
	}
	if len(missing) > len(names) {
		names = append(names, "…")
	}
	ids := a.packs.hitIDs()
	hit := "no backup that is kept is known to need them yet"
	if len(ids) > 0 {
		hit = fmt.Sprintf("%d backups need them, from %s to %s, and cannot be restored whole from it", len(ids), ids[0], ids[len(ids)-1])
	}
	a.trouble(ctx, packsKind, "missing", fmt.Sprintf("%d packs are missing from the bucket, or cut short or changed there (%s); %s. "+
		"What was in them is stored again with the next backup; a standby that has them cached puts them back. Find out who deletes there", len(missing), strings.Join(names, ", "), hit))
}

// mostHit is how many backups are looked at, at once, for what needs a missing pack.
const mostHit = 500

// findHit finds the backups that need what is missing, from the newest on backwards,
// and of the other branches, as far as these were read.
func (a *Agent) findHit(ctx context.Context) {
	gone, h := a.packs.gone(), a.view().Head
	if h == nil || len(gone) == 0 {
		return
	}
	packs := a.cache.Through(a.repo)
	left := mostHit
	look := func(ref backup.Ref) *backup.Manifest {
		m, err := a.chain.Manifest(ctx, ref)
		if err != nil {
			return nil
		}
		left--
		a.packs.noteHit(ref.ID, a.lacks(ctx, m, packs, gone))
		return m
	}
	for ref := h.Newest; ref != nil && left > 0 && !a.packs.referred.knows(ref.ID); {
		m := look(*ref)
		if m == nil {
			break
		}
		ref = m.Previous
	}
	for _, ref := range a.packs.referred.list() {
		if left == 0 || ctx.Err() != nil {
			return
		}
		if a.packs.isToCheck(ref.ID) {
			look(ref)
		}
	}
}

// lacks counts the packs that a backup needs and that are gone.
func (a *Agent) lacks(ctx context.Context, m *backup.Manifest, packs pack.Packs, gone map[pack.Digest]bool) (n int) {
	_, index, err := a.repo.Open(ctx, m, packs)
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
func (a *Agent) recheckPacks(ctx context.Context) {
	missing := a.packs.list()
	if len(missing) == 0 {
		return
	}
	there := make([]bool, len(missing))
	err := control.InParallel(ctx, len(missing), func(i int) error {
		there[i] = a.isThere(ctx, missing[i])
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
	left := a.packs.back(back...)
	if len(back) > 0 {
		a.findHit(ctx)
	}
	if left == 0 {
		a.troubleOver(ctx, packsKind, "missing", "every pack that was missing from the bucket is there again")
	}
}

// prune forgets what is missing that no backup needs any more, and the backups that
// have expired.
func (p *packs) prune(needed []pack.Info, oldest time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.missing) == 0 {
		return
	}
	are := make(map[pack.Digest]bool, len(needed))
	for _, n := range needed {
		are[n.Digest] = true
	}
	maps.DeleteFunc(p.missing, func(d pack.Digest, _ pack.Info) bool { return !are[d] })
	maps.DeleteFunc(p.rotten, func(d pack.Digest, _ version) bool { return !are[d] })
	maps.DeleteFunc(p.hit, func(id string, _ string) bool {
		ref, err := backup.ParseID(id)
		return err == nil && ref.Time.Before(oldest)
	})
}

// noteHit notes how many packs that are gone a backup needs.
func (p *packs) noteHit(id string, needs int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.checked[id] = p.losses; needs > 0 && len(p.missing) > 0 {
		p.hit[id] = fmt.Sprintf("%d of its packs are missing from the bucket, or damaged there: understudy verify --deep %s", needs, id)
	}
}

// isToCheck reports whether more has been lost since a backup was looked at.
func (p *packs) isToCheck(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.checked[id] < p.losses
}

// hitIDs are the backups that are known to need what is missing, oldest first.
func (p *packs) hitIDs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]string, 0, len(p.hit))
	for id := range p.hit {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// isWhole reports whether the newest backup does without what is missing.
func (p *packs) isWhole() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.whole || len(p.missing) == 0
}

func (p *packs) setUnlisted(is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unlisted = is
}

func (p *packs) isUnlisted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unlisted
}

// beginBackup gives what the next backup is to do without, and whether it is to
// be a full one.
func (p *packs) beginBackup() (gone map[pack.Digest]bool, full bool) {
	gone = p.gone()
	p.mu.Lock()
	defer p.mu.Unlock()
	return gone, p.full
}

// storedAgain follows a backup that does without what was known to be missing
// when it began: it is whole, and those before it stay as they are. A standby
// may still put back what they need.
func (a *Agent) storedAgain(ctx context.Context, full bool) {
	p := &a.packs
	p.mu.Lock()
	p.full = p.full && !full
	news := len(p.missing) > 0 && !p.whole
	p.whole = true
	hit := len(p.hit)
	p.mu.Unlock()
	if news {
		a.troubleOver(ctx, packsKind, "missing", fmt.Sprintf("what was missing from the bucket is stored again: the newest backup is whole; %d backups before it need packs that are gone, and say so, until a standby puts these back", hit))
	}
}

// putBack puts a pack into the bucket that this instance's cache has. The same
// bytes under the same name do no harm.
func (a *Agent) putBack(ctx context.Context, p pack.Info) (bool, error) {
	data, err := a.cache.WholePack(ctx, p.Digest)
	if err != nil {
		return false, err
	}
	if _, err := a.cfg.Store.Put(ctx, p.Digest.Key(), data, blobstore.Always.Locked(a.lockFor(a.packLife()))); err != nil {
		return false, fmt.Errorf("put back %s: %w", p.Digest.Key(), err)
	}
	return true, nil
}

// returnPacks puts back what is missing from the bucket and cached here, when
// the active says that it misses something. All that is cached is compared: the
// active may not know of everything.
func (a *Agent) returnPacks(ctx context.Context) {
	h := a.view().Head
	if h == nil {
		return
	}
	rec := a.table.reading().rows[h.Active.Name].rec
	if rec == nil || slices.Equal(rec.Missing, a.packs.returned) {
		return
	}
	n := 0
	needed, err := a.cache.Needed()
	if err == nil && len(rec.Missing) > 0 {
		n, err = a.returnMissing(ctx, needed, rec.Missing)
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		a.note(ctx, event.Warn, packsKind, fmt.Sprintf("what is missing from the bucket cannot be put back from this instance's cache: %v", err), nil)
	default:
		a.packs.returned = rec.Missing
	}
	if n > 0 {
		a.note(ctx, event.Warn, packsKind, fmt.Sprintf("%d packs that were missing from the bucket, or damaged there, were put back from this instance's cache", n), nil)
	}
}

// returnMissing puts back those of the cached packs that the bucket lacks, and those
// that are named and damaged there.
func (a *Agent) returnMissing(ctx context.Context, cached []pack.Info, named []string) (n int, err error) {
	missing, err := a.repo.Missing(ctx, cached)
	if err == nil {
		var damaged []pack.Info
		damaged, err = a.damagedOf(ctx, cached, named)
		missing = append(missing, damaged...)
	}
	for _, p := range missing {
		back, failed := a.putBack(ctx, p)
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

// missingNames are what this instance's record says is missing.
func (a *Agent) missingNames() (names []string) {
	missing := a.packs.list()
	for _, p := range missing[:min(len(missing), packsTold)] {
		names = append(names, p.Digest.String())
	}
	return names
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/restore"
)

// The newest backup must outlive a long outage of the active. Parts of the
// retention:
const (
	riskPart   = 2  // its age at which an alarm is raised, and it is renewed first
	renewPart  = 4  // its objects' age at which it is renewed again
	spreadPart = 8  // over which several standbys are spread, so that one does it
	freshPart  = 8  // a pack younger than this needs no renewal
	lookPart   = 16 // between two looks
)

const (
	renewRate = 4         // packs in a second
	lookMost  = time.Hour // the longest time between two looks
)

// guard watches the newest backup's age, and on a standby that has it renews
// its objects in the bucket. It belongs to one goroutine.
type guard struct {
	a      *Agent
	limit  *rate.Limiter
	newest string        // id of the backup that is watched
	since  time.Duration // monotonic, when it was first seen
	atRisk bool          // the alarm was raised
	failed bool          // a failed renewal was told
}

// keepNewest looks after the newest backup.
func (a *Agent) keepNewest(ctx context.Context) error {
	g := &guard{a: a, limit: rate.NewLimiter(renewRate, 1)}
	return a.whenAdmitted(ctx, func() time.Duration { return g.look(ctx) })
}

// look looks once, and says when to look again.
func (g *guard) look(ctx context.Context) time.Duration {
	core := g.a.view()
	_, c := g.a.configs.current()
	if core.Head == nil || core.Head.Newest == nil || c == nil {
		return judgeEvery
	}
	newest, now := *core.Head.Newest, g.a.cfg.Clock.Now().Mono
	if newest.ID != g.newest {
		g.newest, g.since, g.atRisk, g.failed = newest.ID, now, false, false
		g.a.expiry.change(func(e *expiry) { e.risk = "" })
	}
	standing := g.a.standing(c)
	keep := standing.Effective.Keep
	pause := max(min(keep/lookPart, lookMost), judgeEvery)
	published := g.a.control.Time().Sub(newest.Time)
	if max(published, now-g.since) < keep/renewPart {
		return pause
	}
	stored, err := g.age(ctx, newest)
	if err != nil {
		return pause // the machine tells of a bucket that does not answer
	}
	if max(published, stored) >= keep/riskPart {
		g.alarm(ctx, core, newest, max(published, stored), standing)
	}
	due := keep/renewPart + time.Duration(spread(g.a.self.Name)*float64(keep/spreadPart))
	if !g.atRisk || stored < due || core.Role != ha.RoleStandby || core.Promotion != nil || !g.a.isCached(newest.ID) {
		return pause
	}
	g.renew(ctx, newest, keep)
	return pause
}

// gone is the age of what has expired already.
const gone = time.Duration(1<<63 - 1)

// age is how long ago a backup's manifest was stored, or stored again.
func (g *guard) age(ctx context.Context, ref backup.Ref) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, g.a.cfg.RequestTimeout)
	defer cancel()
	attrs, err := g.a.cfg.Store.Stat(ctx, ref.Key)
	switch {
	case errors.Is(err, blobstore.ErrNotFound):
		return gone, nil
	case err != nil:
		return 0, fmt.Errorf("look at %s: %w", ref.Key, err)
	}
	return g.a.control.Time().Sub(attrs.Time), nil
}

// alarm says, once for each backup, that the newest one gets old.
func (g *guard) alarm(ctx context.Context, core ha.Status, newest backup.Ref, age time.Duration, s retention.Effect) {
	text := riskText(core, age, s.Effective.Keep)
	if deletes := len(s.Left) < len(retention.Folders); deletes && g.holders(newest.ID) == 0 {
		text += "; no standby has it, so that the bucket's rules will delete it"
	}
	g.a.expiry.change(func(e *expiry) { e.risk = text })
	if g.atRisk {
		return
	}
	g.atRisk = true
	g.a.note(ctx, event.Alarm, retentionKind, text, map[string]any{"backup": newest.ID})
}

// riskText says what is wrong with the newest backup's age, and what to do.
func riskText(core ha.Status, age, keep time.Duration) string {
	why := fmt.Sprintf("no newer one comes from the active %s: promote a standby, or bring the active back", core.Head.Active.Name)
	switch {
	case core.Role == ha.RoleActive && core.Paused != nil:
		why = "the schedule is paused: understudy resume, or understudy backup"
	case core.Role == ha.RoleActive:
		why = "none has been made since"
	}
	old := "has expired"
	if age < keep {
		old = fmt.Sprintf("is %s old, more than half of the retention (%s)", inDays(age), inDays(keep))
	}
	return fmt.Sprintf("the newest backup %s, and %s", old, why)
}

// holders counts the standbys that say that they have a backup.
func (g *guard) holders(id string) int {
	n := 0
	for _, i := range g.a.instances(g.a.view()) {
		for _, cached := range i.Cached {
			if cached == id && i.Role == ha.RoleStandby {
				n++
			}
		}
	}
	return n
}

// renew puts the newest backup's objects into the bucket again, which makes
// them young, and tells how that went.
func (g *guard) renew(ctx context.Context, newest backup.Ref, keep time.Duration) {
	written, err := g.write(ctx, newest, keep)
	switch {
	case err == nil:
		g.failed = false
		g.a.note(ctx, event.Info, retentionKind, fmt.Sprintf("the newest backup was renewed from this instance's cache (%d packs): it now stays for another %s", written, inDays(keep)),
			map[string]any{"backup": newest.ID})
	case ctx.Err() != nil, errors.Is(err, errMoved), g.failed:
	default:
		g.failed = true
		g.a.note(ctx, event.Warn, retentionKind, "the newest backup cannot be renewed from this instance's cache: "+err.Error(), map[string]any{"backup": newest.ID})
	}
}

// errMoved ends the renewal of a backup that is the newest no more.
var errMoved = errors.New("there is a newer backup")

// write puts a cached backup's packs, and then its manifest: the same bytes
// under the same names.
func (g *guard) write(ctx context.Context, newest backup.Ref, keep time.Duration) (written int, err error) {
	a := g.a
	release, err := a.cache.Hold(newest.ID)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, release()) }()
	m, signed, err := a.cache.Signed(a.repo, newest)
	if err != nil {
		return 0, err
	}
	mending := a.cache.Mending(a.repo)
	_, index, err := a.repo.Open(ctx, m, mending)
	if err != nil {
		return 0, err
	}
	for _, p := range index.Packs() {
		put, err := g.writePack(ctx, mending, p, keep)
		if err != nil {
			return written, err
		}
		if put {
			written++
		}
		if h := a.view().Head; h == nil || h.Newest == nil || h.Newest.ID != newest.ID {
			return written, errMoved
		}
	}
	if _, err := a.control.Put(ctx, newest.Key, signed, blobstore.Always.Locked(a.lockFor(keep))); err != nil {
		return written, err
	}
	return written, nil
}

// writePack puts a pack again, unless it is young, and reports whether it did.
func (g *guard) writePack(ctx context.Context, cached *restore.Mending, p pack.Info, keep time.Duration) (bool, error) {
	a, key := g.a, p.Digest.Key()
	if err := g.limit.Wait(ctx); err != nil {
		return false, fmt.Errorf("wait to renew %s: %w", key, err)
	}
	attrs, err := a.cfg.Store.Stat(ctx, key)
	switch {
	case err == nil && attrs.Size == p.Size && a.control.Time().Sub(attrs.Time) < a.freshFor(keep):
		return false, nil
	case err != nil && !errors.Is(err, blobstore.ErrNotFound):
		return false, fmt.Errorf("look at %s: %w", key, err)
	}
	data, err := cached.WholePack(ctx, p.Digest)
	if err != nil {
		return false, err
	}
	if _, err := a.cfg.Store.Put(ctx, key, data, blobstore.Always.Locked(a.lockFor(max(keep, a.packLife())))); err != nil {
		return false, fmt.Errorf("renew %s: %w", key, err)
	}
	return true, nil
}

// freshFor is how old a pack may be that needs no renewal: one that is left as it is
// has to live, and to stay locked, for as long as the manifest that is put again now.
func (a *Agent) freshFor(keep time.Duration) time.Duration {
	return min(keep/freshPart, max(0, a.packLife()-keep))
}

// packLife is for how long packs live by the rules in force; 0 while these are not
// known.
func (a *Agent) packLife() time.Duration {
	_, c := a.configs.current()
	if c == nil {
		return 0
	}
	return a.standing(c).Effective.PackLife()
}

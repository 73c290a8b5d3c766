package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// Newest watches the newest backup's age, and on a standby that has it renews its
// objects in the bucket. It belongs to one goroutine.
type Newest struct {
	host     Host
	rules    *Rules
	locks    *Locks
	standbys Standbys

	limit  *rate.Limiter
	newest string        // id of the backup that is watched
	since  time.Duration // monotonic, when it was first seen
	atRisk bool          // the alarm was raised
	failed bool          // a failed renewal was told
}

// Standbys tells who has what cached.
type Standbys interface {
	// Caching counts the standbys that say that they have a backup.
	Caching(id string) int
	// HasCached reports whether this instance has it.
	HasCached(id string) bool
}

// NewNewest looks after the newest backup.
func NewNewest(h Host, rules *Rules, locks *Locks, standbys Standbys) *Newest {
	return &Newest{host: h, rules: rules, locks: locks, standbys: standbys, limit: rate.NewLimiter(renewRate, 1)}
}

// Turn looks once. It returns when the next turn is due.
func (n *Newest) Turn(ctx context.Context) time.Duration {
	core := n.host.Cluster.View()
	_, c := n.host.Cluster.Config()
	if core.Head == nil || core.Head.Newest == nil || c == nil {
		return judgeEvery
	}
	newest, now := *core.Head.Newest, n.host.Clock.Now().Mono
	if newest.ID != n.newest {
		n.newest, n.since, n.atRisk, n.failed = newest.ID, now, false, false
		n.rules.change(func(r *Rules) { r.risk = "" })
	}
	effect := n.rules.Effect(c)
	keep := effect.Effective.Keep
	pause := max(min(keep/lookPart, lookMost), judgeEvery)
	published := n.host.Control.Time().Sub(newest.Time)
	if max(published, now-n.since) < keep/renewPart {
		return pause
	}
	stored, err := n.age(ctx, newest)
	if err != nil {
		return pause // the machine tells of a bucket that does not answer
	}
	if max(published, stored) >= keep/riskPart {
		n.alarm(ctx, core, newest, max(published, stored), effect)
	}
	due := keep/renewPart + Spread(n.host.Self.Name, keep/spreadPart)
	if !n.atRisk || stored < due || core.Role != ha.RoleStandby || core.Promotion != nil || !n.standbys.HasCached(newest.ID) {
		return pause
	}
	n.renew(ctx, newest, keep)
	return pause
}

// gone is the age of what has expired already.
const gone = time.Duration(1<<63 - 1)

// age is how long ago a backup's manifest was stored, or stored again.
func (n *Newest) age(ctx context.Context, ref backup.Ref) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, n.host.Timeout)
	defer cancel()
	attrs, err := n.host.Store.Stat(ctx, ref.Key)
	switch {
	case errors.Is(err, blobstore.ErrNotFound):
		return gone, nil
	case err != nil:
		return 0, fmt.Errorf("look at %s: %w", ref.Key, err)
	}
	return n.host.Control.Time().Sub(attrs.Time), nil
}

// alarm says, once for each backup, that the newest one gets old.
func (n *Newest) alarm(ctx context.Context, core ha.Status, newest backup.Ref, age time.Duration, s retention.Effect) {
	text := riskText(core, age, s.Effective.Keep)
	if deletes := !slices.Contains(s.Left, retention.Backups) || !slices.Contains(s.Left, retention.Packs); deletes && n.standbys.Caching(newest.ID) == 0 {
		text += "; no standby has it, so that the bucket's rules will delete it"
	}
	n.rules.change(func(r *Rules) { r.risk = text })
	if n.atRisk {
		return
	}
	n.atRisk = true
	n.host.Log.Note(ctx, event.Alarm, RetentionKind, text, map[string]any{"backup": newest.ID})
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

// renew puts the newest backup's objects into the bucket again, which makes
// them young, and tells how that went.
func (n *Newest) renew(ctx context.Context, newest backup.Ref, keep time.Duration) {
	written, err := n.write(ctx, newest, keep)
	switch {
	case err == nil:
		n.failed = false
		n.host.Log.Note(ctx, event.Info, RetentionKind, fmt.Sprintf("the newest backup was renewed from this instance's cache (%d packs): it now stays for another %s", written, inDays(keep)),
			map[string]any{"backup": newest.ID})
	case ctx.Err() != nil, errors.Is(err, errMoved), n.failed:
	default:
		n.failed = true
		n.host.Log.Note(ctx, event.Warn, RetentionKind, "the newest backup cannot be renewed from this instance's cache: "+err.Error(), map[string]any{"backup": newest.ID})
	}
}

// errMoved ends the renewal of a backup that is the newest no more.
var errMoved = errors.New("there is a newer backup")

// write puts a cached backup's packs, and then its manifest: the same bytes
// under the same names.
func (n *Newest) write(ctx context.Context, newest backup.Ref, keep time.Duration) (written int, err error) {
	release, err := n.host.Cache.Hold(newest.ID)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, release()) }()
	m, signed, err := n.host.Cache.Signed(n.host.Repo, newest)
	if err != nil {
		return 0, err
	}
	mending := n.host.Cache.Mending(n.host.Repo)
	_, index, err := n.host.Repo.Open(ctx, m, mending)
	if err != nil {
		return 0, err
	}
	for _, p := range index.Packs() {
		put, err := n.writePack(ctx, mending, p, keep)
		if err != nil {
			return written, err
		}
		if put {
			written++
		}
		if h := n.host.Cluster.View().Head; h == nil || h.Newest == nil || h.Newest.ID != newest.ID {
			return written, errMoved
		}
	}
	if _, err := n.host.Control.Put(ctx, newest.Key, signed, blobstore.Always.Locked(n.locks.For(keep))); err != nil {
		return written, err
	}
	return written, nil
}

// writePack puts a pack again, unless it is young, and reports whether it did.
func (n *Newest) writePack(ctx context.Context, cached *restore.Mending, p pack.Info, keep time.Duration) (bool, error) {
	key := p.Digest.Key()
	if err := n.limit.Wait(ctx); err != nil {
		return false, fmt.Errorf("wait to renew %s: %w", key, err)
	}
	attrs, err := n.host.Store.Stat(ctx, key)
	switch {
	case err == nil && attrs.Size == p.Size && n.host.Control.Time().Sub(attrs.Time) < n.freshFor(keep):
		return false, nil
	case err != nil && !errors.Is(err, blobstore.ErrNotFound):
		return false, fmt.Errorf("look at %s: %w", key, err)
	}
	data, err := cached.WholePack(ctx, p.Digest)
	if err != nil {
		return false, err
	}
	if _, err := n.host.Store.Put(ctx, key, data, blobstore.Always.Locked(n.locks.For(max(keep, n.rules.PackLife()))).Hashed(p.Digest)); err != nil {
		return false, fmt.Errorf("renew %s: %w", key, err)
	}
	return true, nil
}

// freshFor is how old a pack may be that needs no renewal: one that is left as it is
// has to live, and to stay locked, for as long as the manifest that is put again now.
func (n *Newest) freshFor(keep time.Duration) time.Duration {
	return min(keep/freshPart, max(0, n.rules.PackLife()-keep))
}

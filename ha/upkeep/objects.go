package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// An agent keeps in memory what it has verified, and asks the bucket no more: what
// somebody overwrites or deletes there would go unnoticed until a restart. So it looks
// at what it remembers. Every minute it looks at the two objects without which no
// instance can begin to follow or to lead; once an hour at the manifests of backups and
// at the markers and records of promotions; and, on the active, at the newest backup's
// manifest when it looks for packs.

// How often it is looked.
const (
	ObjectsEvery = time.Hour   // between two looks at what lies in the folders,
	objectsSoon  = time.Minute // or at least, when somebody asks what there is
	ControlEvery = time.Minute // between two looks at cluster.json and the configuration
)

// Objects looks at what an agent remembers of the bucket's small objects. Its turns
// belong to one goroutine.
type Objects struct {
	host  Host
	rules *Rules
	locks *Locks
	audit Forgetter

	watch      watch
	kick       chan struct{} // somebody asks what there is
	cluster    atomic.Pointer[ha.Cluster]
	config     configToken   // the configuration in force, as last seen in the bucket
	last, next time.Duration // monotonic, of the looks at what lies in the folders
}

// Forgetter reads objects again that are not, or may not be, what was read.
type Forgetter interface{ Forget(keys map[string]bool) }

// configToken is the version of a configuration that was read.
type configToken struct {
	digest string
	token  blobstore.Token
}

// NewObjects has audit read again what has changed.
func NewObjects(h Host, rules *Rules, locks *Locks, audit Forgetter) *Objects {
	o := &Objects{host: h, rules: rules, locks: locks, audit: audit, kick: make(chan struct{}, 1)}
	o.next = h.Clock.Now().Mono + Spread(h.Self.Incarnation, PacksSpread)
	o.watch = watch{
		store: h.Store, folders: append(slices.Clone(retention.Folders[:2]), control.DemoteFolder, control.ConfigFolder),
		check: o.checkObject, mayGo: o.mayGo, forget: o.unlearn,
	}
	return o
}

// Remember takes in cluster.json as it is.
func (o *Objects) Remember(cluster *ha.Cluster) { o.cluster.Store(cluster) }

// Turn looks at the small objects that are due. It returns when the next turn is due.
func (o *Objects) Turn(ctx context.Context) time.Duration {
	o.lookForCluster(ctx)
	o.lookForConfig(ctx)
	now := o.host.Clock.Now().Mono
	asked := len(o.kick) > 0 && now-o.last >= objectsSoon
	if _, c := o.host.Cluster.Config(); c != nil && (now >= o.next || asked) {
		drain(o.kick)
		o.lookAtObjects(ctx)
		o.last, o.next = now, now+ObjectsEvery
	}
	return ControlEvery
}

// LookSoon has it looked soon: somebody wants to know what there is.
func (o *Objects) LookSoon() {
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

func drain(kick chan struct{}) {
	select {
	case <-kick:
	default:
	}
}

// unlearn has objects read again that are not, or may not be, what was read.
func (o *Objects) unlearn(keys map[string]bool) {
	o.host.Chain.Forget(keys)
	o.audit.Forget(keys)
}

// mayGo reports whether an object is so old that nobody is shown what it tells.
func (o *Objects) mayGo(key string, written time.Time) bool {
	if ref, err := backup.ParseKey(key); err == nil {
		written = ref.Time
	}
	_, c := o.host.Cluster.Config()
	return c == nil || written.Before(o.host.Control.Time().Add(control.ExpirySlack-o.rules.Effect(c).Effective.Keep))
}

// checkObject reads a manifest, a marker, a record or a configuration, and verifies
// it. One that only a retired key has signed is none that was damaged here.
func (o *Objects) checkObject(ctx context.Context, key string, known bool) (v finding, err error) {
	if strings.HasPrefix(key, control.DemoteFolder) || strings.HasPrefix(key, control.ConfigFolder) {
		_, _, err = o.host.Control.Read(ctx, control.KindOf(key), key, "")
	} else if ref, stranger := backup.ParseKey(key); stranger == nil {
		var m *backup.Manifest
		if _, m, err = o.host.Repo.Current().LoadNamed(ctx, ref); err == nil && m.Previous != nil {
			v.needs = &pin{m.Previous.Key, m.Previous.Time}
		}
	}
	switch {
	case err == nil:
		return v, nil
	case errors.Is(err, seal.ErrUnknownKey) && !known:
		return v, nil
	case control.Unusable(err), errors.Is(err, control.ErrUnverified):
		return finding{why: err.Error()}, nil
	}
	return v, err
}

// lookAtObjects looks at what lies in the folders, and says what is damaged or gone.
func (o *Objects) lookAtObjects(ctx context.Context) {
	const key, controlKey = "look", "control"
	before := o.watch.bad()
	err := o.watch.look(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		o.host.Log.Trouble(ctx, ObjectKind, key, fmt.Sprintf("it cannot be looked whether what is in the bucket is whole: %v", err))
	} else {
		o.host.Log.TroubleOver(ctx, ObjectKind, key, "it can be looked again whether what is in the bucket is whole")
	}
	manifests, controls := split(o.watch.bad())
	was, _ := split(before)
	manifests = slices.DeleteFunc(manifests, func(bad badObject) bool { return o.putManifestBack(ctx, bad) })
	o.tellManifests(ctx, was, manifests)
	if len(controls) > 0 {
		o.host.Log.Trouble(ctx, ObjectKind, controlKey, fmt.Sprintf("%d control objects of the bucket are damaged or missing: %s. What they tell of promotions is not known to who reads it from now on; "+
			"put their last good version back, where the bucket keeps versions, and find out who writes or deletes there", len(controls), describe(controls)))
	} else {
		o.host.Log.TroubleOver(ctx, ObjectKind, controlKey, "the control objects of the bucket are as they should be")
	}
}

// split tells manifests from control objects.
func split(all []badObject) (manifests, controls []badObject) {
	for _, o := range all {
		if _, err := backup.ParseKey(o.key); err == nil {
			manifests = append(manifests, o)
		} else {
			controls = append(controls, o)
		}
	}
	return manifests, controls
}

// describe names some of what is wrong.
func describe(all []badObject) string {
	var texts []string
	for _, o := range all {
		texts = append(texts, fmt.Sprintf("%s (%s)", o.key, o.why))
	}
	return strings.Join(few(texts), "; ")
}

// tellManifests raises the alarm about manifests that were not known to be bad.
func (o *Objects) tellManifests(ctx context.Context, before, now []badObject) {
	isIn := func(all []badObject) func(badObject) bool {
		return func(y badObject) bool {
			return slices.ContainsFunc(all, func(x badObject) bool { return x.key == y.key })
		}
	}
	if news := slices.DeleteFunc(slices.Clone(now), isIn(before)); len(news) > 0 {
		o.host.Log.Note(ctx, event.Alarm, ObjectKind, fmt.Sprintf("the manifests of %d backups are damaged in the bucket, or missing from it: %s. These backups cannot be restored from it, and say so where backups are listed; "+
			"those before and after them are as they were. Find out who writes or deletes there", len(news), describe(news)), nil)
	}
	if over := slices.DeleteFunc(slices.Clone(before), isIn(now)); len(over) > 0 {
		o.host.Log.Note(ctx, event.Info, ObjectKind, fmt.Sprintf("the manifests of %d backups are in the bucket again, or would have expired by now", len(over)), nil)
	}
	if !slices.Equal(before, now) {
		o.host.Log.Changed()
	}
}

// putManifestBack writes a manifest again that this instance has cached, and
// reports whether it did. An instance that may not write there leaves it as it is.
func (o *Objects) putManifestBack(ctx context.Context, bad badObject) bool {
	parsed, err := backup.ParseKey(bad.key)
	if err != nil {
		return false
	}
	ref, _, err := o.host.Cache.Manifest(o.host.Repo, parsed.ID)
	if err != nil || ref.Key != bad.key {
		return false
	}
	_, signed, err := o.host.Cache.Signed(o.host.Repo, ref)
	if err != nil {
		return false
	}
	_, c := o.host.Cluster.Config()
	keep := o.rules.Effect(c).Effective.Keep
	if _, err := o.host.Control.Put(ctx, bad.key, signed, blobstore.Always.Locked(o.locks.For(keep))); err != nil {
		o.host.Logger.DebugContext(ctx, "a manifest cannot be put back", "key", bad.key, "error", err)
		return false
	}
	o.watch.again(bad.key)
	o.host.Log.Note(ctx, event.Alarm, ObjectKind, fmt.Sprintf("the manifest of backup %s was damaged in the bucket or missing from it (%s), and was written again from this instance's cache: who writes or deletes there?", ref.ID, bad.why), nil)
	return true
}

// Damaged are the ids of backups whose manifests are known to be damaged in the
// bucket or missing from it.
func (o *Objects) Damaged() (ids []string) {
	manifests, _ := split(o.watch.bad())
	for _, bad := range manifests {
		ref, _ := backup.ParseKey(bad.key) // it is one
		ids = append(ids, ref.ID)
	}
	slices.Sort(ids)
	return ids
}

// Damage says what is wrong with an object; "": nothing is known.
func (o *Objects) Damage(key string) string { return o.watch.damage(key) }

// maxFew is how many texts are named one by one.
const maxFew = 5

// few names some of many.
func few(texts []string) []string {
	if len(texts) <= maxFew {
		return texts
	}
	return append(slices.Clone(texts[:maxFew]), fmt.Sprintf("and %d more", len(texts)-maxFew))
}

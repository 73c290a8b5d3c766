package agent

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

const (
	objectsEvery = time.Hour   // between two looks at what lies in the folders,
	objectsSoon  = time.Minute // or at least, when somebody asks what there is
	controlEvery = time.Minute // between two looks at cluster.json and the configuration
)

const (
	configKind = "config"
	objectKind = "object" // of events about what is damaged in the bucket, or gone from it
)

// objects is what an agent remembers of the bucket's small objects.
type objects struct {
	watch
	kick    chan struct{} // somebody asks what there is
	cluster atomic.Pointer[ha.Cluster]
	config  configToken // the configuration in force, as last seen in the bucket; its goroutine's
}

// configToken is the version of a configuration that was read.
type configToken struct {
	digest string
	token  blobstore.Token
}

func (a *Agent) watchObjects() {
	a.objects.kick = make(chan struct{}, 1)
	a.objects.watch = watch{
		store: a.cfg.Store, folders: append(slices.Clone(retention.Folders[:2]), control.DemoteFolder, control.ConfigFolder),
		check: a.checkObject, mayGo: a.mayGo, forget: a.unlearn,
	}
}

// keepObjects looks at the small objects.
func (a *Agent) keepObjects(ctx context.Context) error {
	var last time.Duration
	next := a.cfg.Clock.Now().Mono + time.Duration(spread(a.self.Incarnation)*float64(packsSpread))
	return a.whenAdmitted(ctx, func() time.Duration {
		a.lookForCluster(ctx)
		a.lookForConfig(ctx)
		now := a.cfg.Clock.Now().Mono
		asked := len(a.objects.kick) > 0 && now-last >= objectsSoon
		if _, c := a.configs.current(); c != nil && (now >= next || asked) {
			drain(a.objects.kick)
			a.lookAtObjects(ctx)
			last, next = now, now+objectsEvery
		}
		return controlEvery
	})
}

// asked has it looked soon: somebody wants to know what there is.
func (o *objects) asked() {
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
func (a *Agent) unlearn(keys map[string]bool) {
	a.chain.Forget(keys)
	a.auditLog.Forget(keys)
}

// mayGo reports whether an object is so old that nobody is shown what it tells.
func (a *Agent) mayGo(key string, written time.Time) bool {
	if ref, err := backup.ParseKey(key); err == nil {
		written = ref.Time
	}
	_, c := a.configs.current()
	return c == nil || written.Before(a.control.Time().Add(control.ExpirySlack-a.standing(c).Effective.Keep))
}

// checkObject reads a manifest, a marker, a record or a configuration, and verifies
// it. One that only a retired key has signed is none that was damaged here.
func (a *Agent) checkObject(ctx context.Context, key string, known bool) (v finding, err error) {
	if strings.HasPrefix(key, control.DemoteFolder) || strings.HasPrefix(key, control.ConfigFolder) {
		_, _, err = a.control.Read(ctx, control.KindOf(key), key, "")
	} else if ref, stranger := backup.ParseKey(key); stranger == nil {
		var m *backup.Manifest
		if _, m, err = a.repo.Current().LoadNamed(ctx, ref); err == nil && m.Previous != nil {
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
func (a *Agent) lookAtObjects(ctx context.Context) {
	const key, controlKey = "look", "control"
	before := a.objects.bad()
	err := a.objects.look(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		a.trouble(ctx, objectKind, key, fmt.Sprintf("it cannot be looked whether what is in the bucket is whole: %v", err))
	} else {
		a.troubleOver(ctx, objectKind, key, "it can be looked again whether what is in the bucket is whole")
	}
	manifests, controls := split(a.objects.bad())
	was, _ := split(before)
	manifests = slices.DeleteFunc(manifests, func(o badObject) bool { return a.putManifestBack(ctx, o) })
	a.tellManifests(ctx, was, manifests)
	if len(controls) > 0 {
		a.trouble(ctx, objectKind, controlKey, fmt.Sprintf("%d control objects of the bucket are damaged or missing: %s. What they tell of promotions is not known to who reads it from now on; "+
			"put their last good version back, where the bucket keeps versions, and find out who writes or deletes there", len(controls), describe(controls)))
	} else {
		a.troubleOver(ctx, objectKind, controlKey, "the control objects of the bucket are as they should be")
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
func (a *Agent) tellManifests(ctx context.Context, before, now []badObject) {
	isIn := func(all []badObject) func(badObject) bool {
		return func(o badObject) bool {
			return slices.ContainsFunc(all, func(x badObject) bool { return x.key == o.key })
		}
	}
	if news := slices.DeleteFunc(slices.Clone(now), isIn(before)); len(news) > 0 {
		a.note(ctx, event.Alarm, objectKind, fmt.Sprintf("the manifests of %d backups are damaged in the bucket, or missing from it: %s. These backups cannot be restored from it, and say so where backups are listed; "+
			"those before and after them are as they were. Find out who writes or deletes there", len(news), describe(news)), nil)
	}
	if over := slices.DeleteFunc(slices.Clone(before), isIn(now)); len(over) > 0 {
		a.note(ctx, event.Info, objectKind, fmt.Sprintf("the manifests of %d backups are in the bucket again, or would have expired by now", len(over)), nil)
	}
	if !slices.Equal(before, now) {
		a.troubled()
	}
}

// putManifestBack writes a manifest again that this instance has cached, and
// reports whether it did. An instance that may not write there leaves it as it is.
func (a *Agent) putManifestBack(ctx context.Context, o badObject) bool {
	parsed, err := backup.ParseKey(o.key)
	if err != nil {
		return false
	}
	ref, _, err := a.cache.Manifest(a.repo, parsed.ID)
	if err != nil || ref.Key != o.key {
		return false
	}
	_, signed, err := a.cache.Signed(a.repo, ref)
	if err != nil {
		return false
	}
	_, c := a.configs.current()
	keep := a.standing(c).Effective.Keep
	if _, err := a.control.Put(ctx, o.key, signed, blobstore.Always.Locked(a.lockFor(keep))); err != nil {
		a.cfg.Logger.DebugContext(ctx, "a manifest cannot be put back", "key", o.key, "error", err)
		return false
	}
	a.objects.again(o.key)
	a.note(ctx, event.Alarm, objectKind, fmt.Sprintf("the manifest of backup %s was damaged in the bucket or missing from it (%s), and was written again from this instance's cache: who writes or deletes there?", ref.ID, o.why), nil)
	return true
}

// badManifests are the ids of backups whose manifests are known to be damaged in the
// bucket or missing from it.
func (a *Agent) badManifests() (ids []string) {
	manifests, _ := split(a.objects.bad())
	for _, o := range manifests {
		ref, _ := backup.ParseKey(o.key) // it is one
		ids = append(ids, ref.ID)
	}
	slices.Sort(ids)
	return ids
}

// lookForManifest has a backup made when the newest one's manifest is missing
// from the bucket, or damaged there.
func (a *Agent) lookForManifest(ctx context.Context) {
	const key = "manifest"
	h := a.view().Head
	if h == nil || h.Newest == nil {
		return
	}
	_, err := a.repo.Current().Load(ctx, *h.Newest)
	a.packs.setUnlisted(err != nil)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		a.troubleOver(ctx, packsKind, key, "the manifest of the newest backup is in the bucket")
	case !backup.Damaged(err) && !errors.Is(err, blobstore.ErrNotFound):
		a.trouble(ctx, packsKind, key, fmt.Sprintf("it cannot be looked whether the manifest of the newest backup is in the bucket: %v", err))
	default:
		a.trouble(ctx, packsKind, key, fmt.Sprintf("the manifest of the newest backup, %s, is missing from the bucket, or damaged there: %v. A backup is made in its place. Find out who writes or deletes there", h.Newest.ID, err))
		if err := a.BackupSoon(event.WithActor(ctx, "understudy"), backup.Task, "the newest backup's manifest is damaged"); err != nil {
			a.note(ctx, event.Warn, packsKind, fmt.Sprintf("no backup could be asked for in place of the newest one: %v", err), nil)
		}
	}
}

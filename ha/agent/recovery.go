package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// RecoveryPlan says what a bucket that was put back to an earlier state lacks, and
// what going on from it would mean.
type RecoveryPlan struct {
	// Needed says that the bucket shows an older head than this instance has seen.
	// Without that there is nothing else here.
	Needed bool     `json:"needed"`
	Shown  HeadView `json:"shown"` // what the bucket shows
	Seen   HeadView `json:"seen"`  // the newest that anybody who was asked has seen
	// Active goes on as the active.
	Active    string         `json:"active,omitempty"`
	Instances []InstanceView `json:"instances,omitempty"` // the others, and what they see
	// Missing counts the backups that had been published, and that the bucket lacks.
	Missing uint64 `json:"missing_backups"`
	// Cached are ids of those that this instance has cached, and puts back.
	Cached []string `json:"cached,omitempty"`
	// Newest is the id of the backup that would be the newest.
	Newest string   `json:"newest,omitempty"`
	Lost   []string `json:"lost,omitempty"` // what else is lost, in sentences
	// Refused says why it cannot be done now; "": it can.
	Refused string `json:"refused,omitempty"`
	// Epoch has begun; 0: nothing was done.
	Epoch uint64 `json:"epoch,omitempty"`
}

// HeadView is a head for people.
type HeadView struct {
	Epoch  uint64     `json:"epoch"`
	Rev    uint64     `json:"rev"`
	Active string     `json:"active,omitempty"`
	Newest string     `json:"newest,omitempty"` // id of its newest backup
	Time   *time.Time `json:"time,omitempty"`
}

// InstanceView is what another instance sees.
type InstanceView struct {
	Name  string `json:"name"`
	Asked bool   `json:"asked"`
	Sees  string `json:"sees"` // in words
	// Cached is the id of the newest backup that it has cached.
	Cached string `json:"cached,omitempty"`
}

func viewOf(h *ha.Head) HeadView {
	v := HeadView{Epoch: h.Epoch, Rev: h.Rev, Active: h.Active.Name, Newest: control.IDOf(h.Newest)}
	if !h.Time.IsZero() {
		v.Time = &h.Time
	}
	return v
}

// RecoveryRequest asks to go on from a bucket that was put back.
type RecoveryRequest struct {
	Reason string
	// Without are names of instances that cannot be asked, and that will never see
	// the newer head again, on the word of whoever asks.
	Without []string
	// Epoch and Rev are of the older head that whoever asks was shown.
	Epoch, Rev uint64
}

// recovery is a plan with what carries it out.
type recovery struct {
	RecoveryPlan
	ask    ha.Recover
	back   []backup.Ref // cached, and lacking in the bucket; newest first
	config *ha.Config   // to be put back; nil: none
}

// PlanRecovery says what the bucket lacks, and what going on from it would mean. It
// changes nothing.
func (a *Agent) PlanRecovery(ctx context.Context, without []string) (RecoveryPlan, error) {
	r, err := a.planRecovery(ctx, without)
	return r.RecoveryPlan, err
}

// RecoverBucket has the cluster go on from a bucket that was put back, in an epoch
// above every one that was ever seen, with what this instance has cached put back
// before. It is a *ha.Refusal while any instance sees the newer head.
func (a *Agent) RecoverBucket(ctx context.Context, req RecoveryRequest) (RecoveryPlan, error) {
	r, err := a.planRecovery(ctx, req.Without)
	switch {
	case err != nil:
		return r.RecoveryPlan, err
	case !r.Needed:
		return r.RecoveryPlan, &ha.Refusal{Reason: "the bucket shows no older head than this instance has seen: there is nothing to recover from"}
	case req.Epoch != r.Shown.Epoch || req.Rev > r.Shown.Rev:
		return r.RecoveryPlan, &ha.Refusal{Reason: "the bucket shows another head than the one that was looked at: look again"}
	case r.Refused != "":
		return r.RecoveryPlan, &ha.Refusal{Reason: r.Refused}
	}
	if err := a.returnLost(ctx, &r); err != nil {
		return r.RecoveryPlan, err
	}
	r.ask.By, r.ask.Reason = event.Actor(ctx), req.Reason
	if _, err := a.asking.Do(ctx, func(id string) ha.Event {
		r.ask.Request = id
		return r.ask
	}); err != nil {
		return r.RecoveryPlan, err
	}
	r.Epoch = a.state.View().Seen.Epoch
	return r.RecoveryPlan, nil
}

func (a *Agent) planRecovery(ctx context.Context, without []string) (recovery, error) {
	var r recovery
	older := a.state.View().Older
	if older == nil {
		return r, nil
	}
	all, err := a.sightings.Survey(ctx)
	if err != nil {
		return r, err
	}
	seen := older.Seen
	r.ask = ha.Recover{Shown: older.Head.Position(), Unasked: without}
	now, err := a.control.Head(ctx)
	if err != nil {
		return r, err
	}
	led := false
	for _, s := range all {
		if s.Head != nil && s.Head.IsNewer(seen) {
			seen = s.Head
		}
		led = led || s.Leading && s.Instance == now.Active.Name
		r.Instances = append(r.Instances, a.viewOf(s, now))
	}
	r.Needed, r.Shown, r.Seen, r.Active = true, viewOf(now), viewOf(seen), seen.Active.Name
	if led {
		r.Active = now.Active.Name
	}
	r.Refused = ha.RefuseRecovery(older.Head.Position(), now.Position(), all, without)
	if err := a.planBackups(ctx, &r, now, seen); err != nil {
		return r, err
	}
	return r, a.planConfig(ctx, &r, now, seen)
}

// viewOf says in words what another instance sees.
func (a *Agent) viewOf(s ha.Sighting, now *ha.Head) InstanceView {
	v := InstanceView{Name: s.Instance, Asked: s.Shown != nil}
	if rec := a.records.Reading().Rows[s.Instance].Record; rec != nil && len(rec.Cached) > 0 {
		v.Cached = rec.Cached[0]
	}
	switch {
	case s.Shown == nil:
		v.Sees = "cannot be asked: " + s.Error
	case s.Leading:
		v.Sees = fmt.Sprintf("leads on the older head (epoch %d, rev %d)", s.Shown.Epoch, s.Shown.Rev)
	case now.IsOlder(*s.Shown):
		v.Sees = fmt.Sprintf("sees a newer head (epoch %d, rev %d)", s.Shown.Epoch, s.Shown.Rev)
	default:
		v.Sees = fmt.Sprintf("sees the older head too (it has seen epoch %d, rev %d)", s.Seen.Epoch, s.Seen.Rev)
	}
	return v
}

// planBackups finds which backups the bucket lacks, and which of them are cached
// here.
func (a *Agent) planBackups(ctx context.Context, r *recovery, now, seen *ha.Head) error {
	listed, err := a.control.ListBackups(ctx, "", 0)
	if err != nil {
		return err
	}
	there, sequences := make(map[string]bool, len(listed)), make(map[uint64]bool)
	for _, ref := range listed {
		there[ref.ID], sequences[ref.Sequence] = true, true
		r.ask.Epoch = max(r.ask.Epoch, ref.Epoch)
	}
	_, markers, err := a.control.List(ctx, "demote/")
	if err != nil {
		return err
	}
	for _, name := range markers {
		r.ask.Epoch = max(r.ask.Epoch, control.EpochIn("demote/"+name))
	}
	if seen.Newest == nil {
		return nil
	}
	var from uint64
	if now.Newest != nil {
		from = now.Newest.Sequence
	}
	for n := from + 1; n <= seen.Newest.Sequence; n++ {
		if !sequences[n] {
			r.Missing++
		}
	}
	r.Newest = control.IDOf(now.Newest)
	for _, ref := range a.cached.Refs() {
		if now.Newest != nil && !control.After(ref, *now.Newest) || ref.IsSalvage() {
			continue
		}
		if !there[ref.ID] {
			r.back, r.Cached = append(r.back, ref), append(r.Cached, ref.ID)
		}
	}
	if newest := slices.Concat(r.back[:min(1, len(r.back))], refs(seen.Newest)); len(newest) > 0 {
		for _, ref := range newest {
			if there[ref.ID] || slices.Contains(r.Cached, ref.ID) {
				r.Newest = ref.ID
			}
		}
	}
	r.Missing -= min(r.Missing, uint64(len(r.Cached)))
	r.ask.Missing = r.Missing
	if seen.Epoch > now.Epoch {
		r.Lost = append(r.Lost, fmt.Sprintf("the markers of %d promotions, to the epochs %d to %d", seen.Epoch-now.Epoch, now.Epoch+1, seen.Epoch))
	}
	return nil
}

func refs(ref *backup.Ref) []backup.Ref {
	if ref == nil {
		return nil
	}
	return []backup.Ref{*ref}
}

// planConfig finds out whether the configuration of the newest head is to be had.
func (a *Agent) planConfig(ctx context.Context, r *recovery, now, seen *ha.Head) error {
	if seen.Config == now.Config {
		return nil
	}
	object, _, err := a.control.Read(ctx, ha.KindConfig, ha.ConfigKey(seen.Config), "")
	switch known, config := a.configs.Current(); {
	case err == nil:
		r.ask.Config, r.ask.Fencing = seen.Config, object.(*ha.Config).Fencing
	case !errors.Is(err, blobstore.ErrNotFound) && !errors.Is(err, control.ErrUnverified):
		return err
	case known == seen.Config && config != nil:
		r.config = config
		r.ask.Config, r.ask.Fencing = seen.Config, config.Fencing
	default:
		r.Lost = append(r.Lost, "changes of the shared settings, of its instances, users and webhooks, that were made since")
		r.ask.Lost = r.Lost
	}
	r.ask.Lost = r.Lost
	return nil
}

// returnLost puts back what this instance has and the bucket lacks, and finds the
// newest backup that the bucket has whole then.
func (a *Agent) returnLost(ctx context.Context, r *recovery) error {
	if r.config != nil {
		_, err := a.control.Write(ctx, ha.KindConfig, ha.ConfigKey(r.ask.Config), r.config, blobstore.IfAbsent())
		if err != nil && !errors.Is(err, blobstore.ErrPrecondition) {
			return err
		}
	}
	seen := a.state.View().Older
	if seen == nil {
		return nil // the head is read again by whoever asked
	}
	candidates := slices.Clone(r.back)
	for _, ref := range r.back {
		if err := a.returnBackup(ctx, ref); err != nil {
			a.tell.Note(ctx, event.Warn, recoveryKind, fmt.Sprintf("the cached backup %s cannot be put back: %v", ref.ID, err), nil)
			candidates = slices.DeleteFunc(candidates, func(c backup.Ref) bool { return c.ID == ref.ID })
		}
	}
	if newest := seen.Seen.Newest; newest != nil && newest.ID == r.Newest {
		candidates = slices.Insert(candidates, 0, *newest)
	}
	for _, ref := range candidates {
		if (seen.Head.Newest == nil || control.After(ref, *seen.Head.Newest)) && a.isWhole(ctx, ref) {
			r.ask.Newest, r.Newest = &ref, ref.ID
			return nil
		}
	}
	r.Newest = control.IDOf(seen.Head.Newest)
	return nil
}

const recoveryKind = "recovery"

// keepReturned puts back, after a recovery, the backups that this instance has cached
// and the bucket lacks: the instance on which it was asked for may not have had them.
func (a *Agent) keepReturned(ctx context.Context) error {
	done := ""
	return a.whenAdmitted(ctx, func() time.Duration {
		h := a.state.View().Head
		if h == nil || h.Recovery == nil || h.Recovery.Epoch != h.Epoch || h.Recovery.Nonce == done || a.state.View().Older != nil {
			return returnPause
		}
		n, err := a.returnCached(ctx)
		switch {
		case ctx.Err() != nil:
			return returnPause
		case err != nil:
			a.tell.Trouble(ctx, recoveryKind, "return", fmt.Sprintf("the bucket was put back to an earlier state, and what this instance has cached of what it lacks cannot be put back (tried again): %v", err))
			return returnAgain
		}
		a.tell.TroubleOver(ctx, recoveryKind, "return", "what this instance has cached of what the bucket lacked is put back")
		if done = h.Recovery.Nonce; n > 0 {
			a.tell.Note(ctx, event.Warn, recoveryKind, fmt.Sprintf("%d backups that the bucket lacked were put back from this instance's cache", n), nil)
		}
		return returnPause
	})
}

const (
	returnPause = 2 * time.Second // between two looks whether there was a recovery
	returnAgain = time.Minute     // after a failure
)

// returnCached puts back the cached backups that the bucket lacks.
func (a *Agent) returnCached(ctx context.Context) (n int, err error) {
	for _, ref := range a.cached.Refs() {
		_, missing := a.cfg.Store.Stat(ctx, ref.Key)
		if !errors.Is(missing, blobstore.ErrNotFound) {
			err = errors.Join(err, missing)
			continue
		}
		if one := a.returnBackup(ctx, ref); one != nil {
			err = errors.Join(err, fmt.Errorf("backup %s: %w", ref.ID, one))
			continue
		}
		n++
	}
	return n, err
}

// isWhole reports whether the bucket has all that a backup needs.
func (a *Agent) isWhole(ctx context.Context, ref backup.Ref) bool {
	m, err := a.repo.Load(ctx, ref)
	if err != nil {
		return false
	}
	_, index, err := a.repo.Open(ctx, m, a.repo.BucketPacks())
	if err != nil {
		return false
	}
	missing, err := a.repo.Missing(ctx, index.Packs())
	return err == nil && len(missing) == 0
}

// returnBackup puts a cached backup into the bucket: the packs that are missing
// there, and then its manifest.
func (a *Agent) returnBackup(ctx context.Context, ref backup.Ref) (err error) {
	release, err := a.cache.Hold(ref.ID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	m, signed, err := a.cache.Signed(a.repo, ref)
	if err != nil {
		return err
	}
	_, index, err := a.repo.Open(ctx, m, a.cache)
	if err != nil {
		return err
	}
	missing, err := a.repo.Missing(ctx, index.Packs())
	if err != nil {
		return err
	}
	for _, p := range missing {
		if _, err := a.packs.PutBack(ctx, p); err != nil {
			return err
		}
	}
	_, err = a.control.Put(ctx, ref.Key, signed, blobstore.IfAbsent().Locked(a.locks.For(a.rules.PackLife())))
	if errors.Is(err, blobstore.ErrPrecondition) {
		return nil // it is there
	}
	return err
}

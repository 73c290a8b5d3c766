package putback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/shared"
	"github.com/understudy-ha/understudy/restore"
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

// Asking is how the machine is asked; *requests.Asking is one.
type Asking interface {
	Do(ctx context.Context, of func(request string) ha.Event) (*backup.Ref, error)
}

// Packs are those of the cache.
type Packs interface {
	// PutBack puts one into the bucket that it lacks.
	PutBack(ctx context.Context, lost pack.Info) (bool, error)
}

// Host is the instance that recovers.
type Host struct {
	Store   blobstore.Store
	Control *control.Store
	Repo    *backup.Repository
	Cache   *restore.Cache
	Cached  func() []backup.Ref // newest first
	Configs *shared.Configs
	Records *shared.Records
	View    func() ha.Status                                 // of the machine, as of its last step
	Survey  func(ctx context.Context) ([]ha.Sighting, error) // of the other instances
	Asking  Asking
	Packs   Packs
	Lock    func() blobstore.Lock // of a manifest that is written now
	Log     event.Reporter
}

// Recovery is the way out of a bucket that was put back. It is safe for concurrent use, but
// Turn.
type Recovery struct {
	host Host
	done string // nonce of the last recovery after which the cache was looked at; Turn's
}

// New has not looked yet.
func New(h Host) *Recovery { return &Recovery{host: h} }

// attempt is a plan with what carries it out.
type attempt struct {
	RecoveryPlan
	ask    ha.Recover
	back   []backup.Ref // cached, and lacking in the bucket; newest first
	config *ha.Config   // to be put back; nil: none
}

// PlanRecovery says what the bucket lacks, and what going on from it would mean. It
// changes nothing.
func (r *Recovery) PlanRecovery(ctx context.Context, without []string) (RecoveryPlan, error) {
	at, err := r.plan(ctx, without)
	return at.RecoveryPlan, err
}

// RecoverBucket has the cluster go on from a bucket that was put back, in an epoch
// above every one that was ever seen, with what this instance has cached put back
// before. It is a *ha.Refusal while any instance sees the newer head.
func (r *Recovery) RecoverBucket(ctx context.Context, req RecoveryRequest) (RecoveryPlan, error) {
	at, err := r.plan(ctx, req.Without)
	switch {
	case err != nil:
		return at.RecoveryPlan, err
	case !at.Needed:
		return at.RecoveryPlan, &ha.Refusal{Reason: "the bucket shows no older head than this instance has seen: there is nothing to recover from"}
	case req.Epoch != at.Shown.Epoch || req.Rev > at.Shown.Rev:
		return at.RecoveryPlan, &ha.Refusal{Reason: "the bucket shows another head than the one that was looked at: look again"}
	case at.Refused != "":
		return at.RecoveryPlan, &ha.Refusal{Reason: at.Refused}
	}
	if err := r.returnLost(ctx, &at); err != nil {
		return at.RecoveryPlan, err
	}
	at.ask.By, at.ask.Reason = event.Actor(ctx), req.Reason
	if _, err := r.host.Asking.Do(ctx, func(id string) ha.Event {
		at.ask.Request = id
		return at.ask
	}); err != nil {
		return at.RecoveryPlan, err
	}
	at.Epoch = r.host.View().Seen.Epoch
	return at.RecoveryPlan, nil
}

func (r *Recovery) plan(ctx context.Context, without []string) (attempt, error) {
	var at attempt
	older := r.host.View().Older
	if older == nil {
		return at, nil
	}
	all, err := r.host.Survey(ctx)
	if err != nil {
		return at, err
	}
	seen := older.Seen
	at.ask = ha.Recover{Shown: older.Head.Position(), Unasked: without}
	now, err := r.host.Control.Head(ctx)
	if err != nil {
		return at, err
	}
	led := false
	for _, s := range all {
		if s.Head != nil && s.Head.IsNewer(seen) {
			seen = s.Head
		}
		led = led || s.Leading && s.Instance == now.Active.Name
		at.Instances = append(at.Instances, r.viewOf(s, now))
	}
	at.Needed, at.Shown, at.Seen, at.Active = true, viewOf(now), viewOf(seen), seen.Active.Name
	if led {
		at.Active = now.Active.Name
	}
	at.Refused = ha.RefuseRecovery(older.Head.Position(), now.Position(), all, without)
	if err := r.planBackups(ctx, &at, now, seen); err != nil {
		return at, err
	}
	return at, r.planConfig(ctx, &at, now, seen)
}

// viewOf says in words what another instance sees.
func (r *Recovery) viewOf(s ha.Sighting, now *ha.Head) InstanceView {
	v := InstanceView{Name: s.Instance, Asked: s.Shown != nil}
	if rec := r.host.Records.Reading().Rows[s.Instance].Record; rec != nil && len(rec.Cached) > 0 {
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
func (r *Recovery) planBackups(ctx context.Context, at *attempt, now, seen *ha.Head) error {
	listed, err := r.host.Control.ListBackups(ctx, "", 0)
	if err != nil {
		return err
	}
	there, sequences := make(map[string]bool, len(listed)), make(map[uint64]bool)
	for _, ref := range listed {
		there[ref.ID], sequences[ref.Sequence] = true, true
		at.ask.Epoch = max(at.ask.Epoch, ref.Epoch)
	}
	_, markers, err := r.host.Control.List(ctx, "demote/")
	if err != nil {
		return err
	}
	for _, name := range markers {
		at.ask.Epoch = max(at.ask.Epoch, control.EpochIn("demote/"+name))
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
			at.Missing++
		}
	}
	at.Newest = control.IDOf(now.Newest)
	for _, ref := range r.host.Cached() {
		if now.Newest != nil && !control.After(ref, *now.Newest) || ref.IsSalvage() {
			continue
		}
		if !there[ref.ID] {
			at.back, at.Cached = append(at.back, ref), append(at.Cached, ref.ID)
		}
	}
	if newest := slices.Concat(at.back[:min(1, len(at.back))], refs(seen.Newest)); len(newest) > 0 {
		for _, ref := range newest {
			if there[ref.ID] || slices.Contains(at.Cached, ref.ID) {
				at.Newest = ref.ID
			}
		}
	}
	at.Missing -= min(at.Missing, uint64(len(at.Cached)))
	at.ask.Missing = at.Missing
	if seen.Epoch > now.Epoch {
		at.Lost = append(at.Lost, fmt.Sprintf("the markers of %d promotions, to the epochs %d to %d", seen.Epoch-now.Epoch, now.Epoch+1, seen.Epoch))
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
func (r *Recovery) planConfig(ctx context.Context, at *attempt, now, seen *ha.Head) error {
	if seen.Config == now.Config {
		return nil
	}
	object, _, err := r.host.Control.Read(ctx, ha.KindConfig, ha.ConfigKey(seen.Config), "")
	switch known, config := r.host.Configs.Current(); {
	case err == nil:
		at.ask.Config, at.ask.Fencing = seen.Config, object.(*ha.Config).Fencing
	case !errors.Is(err, blobstore.ErrNotFound) && !errors.Is(err, control.ErrUnverified):
		return err
	case known == seen.Config && config != nil:
		at.config = config
		at.ask.Config, at.ask.Fencing = seen.Config, config.Fencing
	default:
		at.Lost = append(at.Lost, "changes of the shared settings, of its instances, users and webhooks, that were made since")
		at.ask.Lost = at.Lost
	}
	at.ask.Lost = at.Lost
	return nil
}

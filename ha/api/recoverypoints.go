package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// RecoveryPoints says how old the newest state that could be recovered was, at each time
// of a span: from the chain of backups, and from what happened to the cluster.
type RecoveryPoints struct {
	From   time.Time       `json:"from"`
	To     time.Time       `json:"to"`
	Points []RecoveryPoint `json:"points" nullable:"false" doc:"oldest first; each is in force until the next one"`
	Marks  []Mark          `json:"marks" nullable:"false" doc:"oldest first"`
	// Unknown says why something is missing.
	Unknown    string     `json:"unknown,omitempty" doc:"why something of the span is not known; empty: all of it is"`
	KnownSince *time.Time `json:"known_since,omitempty" doc:"nothing is known of the time before; missing: nothing is known at all"`
	Instance   string     `json:"instance" doc:"whose log the failures are from: those of others are not known here"`
	// Logs are apart: those that this instance ships.
	Logs []agent.AgeSample `json:"logs,omitempty" doc:"of sources whose log this instance ships: how much of it a failover would have lost, at most, in the half minute up to each time; since this process began"`
}

// RecoveryPoint is the newest state that could be recovered from a time on.
type RecoveryPoint struct {
	Time   time.Time `json:"time" doc:"when its backup was published, or the promotion restored it"`
	State  time.Time `json:"state" doc:"when the state was so"`
	Backup string    `json:"backup"`
}

// Mark is something that happened.
type Mark struct {
	Time time.Time `json:"time"`
	Kind string    `json:"kind" enum:"promotion,failure"`
	Text string    `json:"text"`
}

type recoveryPointsInput struct {
	Hours int `query:"hours" minimum:"1" maximum:"168" default:"24" doc:"how far back"`
}

type recoveryPointsOutput struct{ Body RecoveryPoints }

const (
	pointsPage    = 200              // backups at once
	pointsMost    = 3000             // backups in all
	pointsMarks   = 200              // of a kind
	pointsTimeout = 20 * time.Second // what is known by then is told
)

// pastPoints are where recovery points are read from.
type pastPoints struct {
	backups  Backups
	history  History
	instance Instance
}

func (a *api) addRecoveryPoints(p pastPoints) {
	o := operation("list-recovery-points", http.MethodGet, "/api/v1/recovery-points", "How old the newest recoverable state was, over the last hours", readingErrors...)
	o.Description = "It is derived from the chain of backups and from the cluster's history in the bucket. Failures are those of this instance's own log. What is not known is said to be."
	register(a, o, func(ctx context.Context, in *recoveryPointsInput) (*recoveryPointsOutput, error) {
		ctx, cancel := context.WithTimeout(ctx, pointsTimeout)
		defer cancel()
		points, err := p.since(ctx, a.now().UTC(), time.Duration(in.Hours)*time.Hour)
		return &recoveryPointsOutput{Body: points}, err
	})
}

// since reads those of the span that ends at to.
func (p pastPoints) since(ctx context.Context, to time.Time, span time.Duration) (RecoveryPoints, error) {
	r := RecoveryPoints{From: to.Add(-span), To: to, Points: []RecoveryPoint{}, Marks: []Mark{}, Instance: p.instance.Status().Instance}
	backups, err := p.backupsSince(ctx, &r)
	if err != nil {
		return r, err
	}
	promotions, err := p.promotionsSince(ctx, r.From)
	if err != nil {
		r.Unknown = cmp.Or(r.Unknown, "the history of the cluster cannot be read: "+err.Error())
	}
	r.line(backups, promotions)
	failures, err := p.instance.Events().Select(event.Filter{Since: r.From, Kinds: []string{"backup", "pull", "rehearsal"}, Levels: []event.Level{event.Warn, event.Alarm}, Limit: pointsMarks})
	if err != nil {
		r.Unknown = cmp.Or(r.Unknown, "the log of this instance cannot be read: "+err.Error())
	}
	for _, e := range failures {
		r.Marks = append(r.Marks, Mark{Time: e.Time, Kind: "failure", Text: e.Text})
	}
	for _, s := range p.instance.LogAges() {
		if !s.Time.Before(r.From) {
			r.Logs = append(r.Logs, s)
		}
	}
	slices.SortStableFunc(r.Marks, func(x, y Mark) int { return x.Time.Compare(y.Time) })
	return r, nil
}

// backupsSince reads the backups of the span and the newest one before it, newest first.
func (p pastPoints) backupsSince(ctx context.Context, r *RecoveryPoints) ([]control.BackupInfo, error) {
	var all []control.BackupInfo
	for after := ""; ; {
		list, err := p.backups.BackupsAfter(ctx, after, pointsPage)
		if err != nil && len(all) == 0 {
			return nil, err
		}
		if err != nil {
			r.Unknown = "not all backups could be read: " + err.Error()
			break
		}
		if s := p.instance.Status(); s.Bucket != "ok" {
			r.Unknown = "the bucket cannot be used (" + s.Bucket + "): only what is cached here is known"
		}
		r.Unknown = cmp.Or(list.OlderHead, r.Unknown)
		all = append(all, list.Backups...)
		if n := len(list.Backups); n > 0 && list.Backups[n-1].Time.Before(r.From) {
			r.KnownSince = &r.From
			return all, nil
		}
		if list.Next == "" {
			break // the cluster has no older one
		}
		if len(all) >= pointsMost {
			r.Unknown = "there are too many backups in this time to look at all of them"
			break
		}
		after = list.Next
	}
	if n := len(all); n > 0 {
		oldest := all[n-1].Time
		r.KnownSince = &oldest
	}
	return all, nil
}

// promotionsSince reads what began new epochs in the span.
func (p pastPoints) promotionsSince(ctx context.Context, from time.Time) ([]control.ClusterEvent, error) {
	var all []control.ClusterEvent
	for before, read := "", 0; ; {
		page, err := p.history.ClusterHistory(ctx, before, pointsPage)
		if err != nil {
			return all, err
		}
		for _, e := range page.Events {
			if e.Time.Before(from) {
				return all, nil
			}
			if e.Kind == control.PromotionKind || e.Kind == control.RecoveryKind {
				all = append(all, e)
			}
		}
		if read += len(page.Events); page.Next == "" || page.Next == before || read >= pointsMost {
			return all, nil
		}
		before = page.Next
	}
}

// line puts backups and promotions in the order in which they happened. A promotion goes
// back to the state that it restored; a backup of an epoch that has ended counts no more.
func (r *RecoveryPoints) line(backups []control.BackupInfo, promotions []control.ClusterEvent) {
	type step struct {
		RecoveryPoint
		epoch    uint64
		promotes bool
	}
	var steps []step
	for _, b := range backups {
		if !b.Salvage && b.Damaged == "" && !b.Unlinked {
			published := b.Time.Add(time.Duration(b.Duration * float64(time.Second)))
			steps = append(steps, step{RecoveryPoint{published, b.Time, b.ID}, b.Epoch, false})
		}
	}
	for _, p := range promotions {
		r.Marks = append(r.Marks, Mark{Time: p.Time, Kind: "promotion", Text: p.Text})
		if restored, err := backup.ParseID(p.Backup); err == nil {
			steps = append(steps, step{RecoveryPoint{p.Time, restored.Time, p.Backup}, p.Epoch, true})
		}
	}
	slices.SortStableFunc(steps, func(x, y step) int { return x.Time.Compare(y.Time) })
	var epoch uint64
	for _, s := range steps {
		if s.epoch < epoch {
			continue
		}
		epoch = s.epoch
		if n := len(r.Points); n > 0 && !s.promotes && !s.State.After(r.Points[n-1].State) {
			continue
		}
		if n := len(r.Points); n == 1 && !s.Time.After(r.From) {
			r.Points = r.Points[:0] // an earlier one than is asked for
		}
		r.Points = append(r.Points, s.RecoveryPoint)
	}
}

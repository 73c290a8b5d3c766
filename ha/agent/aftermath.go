package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// Takeover is the promotion that began the present epoch, as the bucket tells it
// to every instance: what it lost, and where that is.
type Takeover struct {
	Epoch    uint64    `json:"epoch"`
	Time     time.Time `json:"time"`
	Mode     ha.Mode   `json:"mode,omitempty"`
	By       string    `json:"by,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Active   string    `json:"active"`             // the new one
	Old      string    `json:"old,omitempty"`      // the one that it replaced
	Restored string    `json:"restored,omitempty"` // id of the backup
	CutOff   string    `json:"cut_off,omitempty"`  // id of the newest one that it superseded
	// Salvaged is what instances that were replaced say that they kept.
	Salvaged []Salvaged `json:"salvaged,omitempty"`
	// Unstopped says that nothing on the host of the old one can stop its application:
	// it may run on, and nobody has given their word that it does not.
	Unstopped bool `json:"unstopped,omitempty"`
	// Lost says in sentences what is not here, and how to look at it; none: nothing
	// was lost.
	Lost []string `json:"lost,omitempty"`
}

// Salvaged is what one instance kept of the state that never reached its
// successor.
type Salvaged struct {
	Instance string `json:"instance"`
	Epoch    uint64 `json:"epoch"`            // that had begun
	Backup   string `json:"backup,omitempty"` // id of the salvage backup; "": it had nothing that was not here
}

// aftermath remembers what the newest backup lacks, and how the present epoch
// began. It is for people. It is safe for concurrent use.
type aftermath struct {
	mu       sync.Mutex
	newest   string // the backup that lacks is of
	lacks    []string
	takeover *Takeover

	// The goroutine's own.
	at   time.Duration // monotonic, when the bucket was last looked at
	soon int           // how often it was looked at soon again in this epoch
}

const (
	aftermathPause = 2 * time.Second // between two looks whether there is something new
	aftermathEvery = time.Minute     // between two looks at the bucket while there is not
	aftermathSoon  = 5 * time.Second // while the old active is back, and has not told yet what it kept
	soonMost       = 20              // of these
)

// read returns what is known that fits the head.
func (f *aftermath) read(h *ha.Head) (lacks []string, takeover *Takeover) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h != nil && h.Newest != nil && h.Newest.ID == f.newest {
		lacks = f.lacks
	}
	if h != nil && f.takeover != nil && h.Epoch == f.takeover.Epoch {
		takeover = f.takeover
	}
	return lacks, takeover
}

// keepAftermath looks at every new backup, at every new epoch, and now and then.
func (a *Agent) keepAftermath(ctx context.Context) error {
	return a.whenAdmitted(ctx, func() time.Duration {
		a.lookAfter(ctx)
		return aftermathPause
	})
}

func (a *Agent) lookAfter(ctx context.Context) {
	f, h, now := &a.aftermath, a.view().Head, a.cfg.Clock.Now().Mono
	if h == nil {
		return
	}
	f.mu.Lock()
	newest, known, t := f.newest, f.takeover != nil && f.takeover.Epoch == h.Epoch, f.takeover
	f.mu.Unlock()
	every := aftermathEvery
	if !known {
		f.soon = 0
	} else if f.soon < soonMost && !t.told() && a.isBack(t) {
		every = aftermathSoon
	}
	if h.Newest != nil && h.Newest.ID != newest {
		// One that cannot be read is told of where it is needed.
		if m, err := a.history.get(ctx, *h.Newest); err == nil {
			f.mu.Lock()
			f.newest, f.lacks = h.Newest.ID, LacksOf(m)
			f.mu.Unlock()
			a.troubled()
		}
	}
	if h.Epoch < 2 || known && f.at != 0 && now-f.at < every {
		return
	}
	if every == aftermathSoon {
		f.soon++
	}
	found, err := a.bucket.takeover(ctx, a.history, h.Epoch)
	if err != nil {
		return // the machine tells of a bucket that does not answer
	}
	f.at = now
	f.mu.Lock()
	f.takeover = found
	f.mu.Unlock()
	a.troubled()
}

// isBack reports whether the old active's record says that it knows of the epoch.
func (a *Agent) isBack(t *Takeover) bool {
	return slices.ContainsFunc(a.instances(a.view()), func(i InstanceStatus) bool { return i.Name == t.Old && i.Epoch >= t.Epoch })
}

// LacksOf lists what a backup could not keep.
func LacksOf(m *backup.Manifest) []string {
	all := slices.Clone(m.Warnings)
	for _, e := range m.Sources {
		for _, w := range e.Warnings {
			all = append(all, e.Name+": "+w)
		}
	}
	return all
}

// takeover reads how an epoch began, and what was salvaged since; nil when its
// marker is not there.
func (b *Bucket) takeover(ctx context.Context, known *manifests, epoch uint64) (*Takeover, error) {
	object, attrs, err := b.read(ctx, ha.KindMarker, ha.MarkerKey(epoch), "")
	if errors.Is(err, blobstore.ErrNotFound) || errors.Is(err, ErrUnverified) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	mk := object.(*ha.Marker)
	t := &Takeover{
		Epoch: mk.Epoch, Time: mk.Time, Mode: mk.Mode, By: mk.By, Reason: mk.Reason,
		Active: mk.Active.Name, Old: mk.Old.Name, Restored: refID(mk.Restored), CutOff: refID(mk.CutOff),
	}
	if t.Unstopped, err = b.unstopped(ctx, mk); err != nil {
		return nil, err
	}
	if err := b.salvaged(ctx, t, attrs.Time); err != nil {
		return nil, err
	}
	if err := b.salvagedUntold(ctx, known, t, attrs.Time); err != nil {
		return nil, err
	}
	t.Lost = t.lost()
	if mk.Recovery != nil {
		t.Lost = append([]string{recoveryTells(mk.Recovery, mk.Active.Name)}, t.Lost...)
	}
	return t, nil
}

// unstopped reads whether the old active has acknowledged that it was replaced, and
// said that nothing there can stop its application.
func (b *Bucket) unstopped(ctx context.Context, mk *ha.Marker) (bool, error) {
	if mk.Old.Name == "" || mk.AppIsStopped {
		return false, nil
	}
	object, _, err := b.read(ctx, ha.KindAck, ha.AckKey(mk.Epoch, mk.Old), "")
	if errors.Is(err, blobstore.ErrNotFound) || errors.Is(err, ErrUnverified) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return object.(*ha.Ack).Unstopped, nil
}

// salvaged reads the records of what was salvaged for this takeover, or since.
func (b *Bucket) salvaged(ctx context.Context, t *Takeover, since time.Time) error {
	const folder = "demote/"
	listed, names, err := b.names(ctx, folder)
	if err != nil {
		return err
	}
	for i, name := range names {
		if !strings.HasSuffix(name, ".salvage") || epochIn(listed[i].Key) != t.Epoch && listed[i].Time.Before(since) {
			continue
		}
		object, _, err := b.read(ctx, ha.KindSalvage, listed[i].Key, "")
		if errors.Is(err, blobstore.ErrNotFound) || errors.Is(err, ErrUnverified) {
			continue
		}
		if err != nil {
			return err
		}
		rec := object.(*ha.SalvageRecord)
		t.Salvaged = append(t.Salvaged, Salvaged{Instance: rec.Instance.Name, Epoch: rec.Epoch, Backup: refID(rec.Backup)})
	}
	return nil
}

// salvagedUntold adds what was salvaged since, and has no record.
func (b *Bucket) salvagedUntold(ctx context.Context, known *manifests, t *Takeover, since time.Time) error {
	all, err := b.salvages(ctx, known, mostSalvages, func(ref backup.Ref, stored time.Time) bool {
		return !stored.Before(since) && !slices.ContainsFunc(t.Salvaged, func(s Salvaged) bool { return s.Backup == ref.ID })
	})
	for _, s := range all {
		if s.m != nil {
			t.Salvaged = append(t.Salvaged, Salvaged{Instance: s.m.Instance, Epoch: s.ref.Epoch + 1, Backup: s.ref.ID})
		}
	}
	return err
}

func refID(ref *backup.Ref) string {
	if ref == nil {
		return ""
	}
	return ref.ID
}

// told reports whether nothing more is to come from the old active: it handed
// over, or has said what it kept.
func (t *Takeover) told() bool {
	return t.Mode != ha.ModeFailover || t.Old == t.Active ||
		slices.ContainsFunc(t.Salvaged, func(s Salvaged) bool { return s.Epoch == t.Epoch && s.Instance == t.Old })
}

// lost says in sentences what is not here, and how to look at it.
func (t *Takeover) lost() []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, s := range t.Salvaged {
		if s.Backup != "" {
			base := t.Restored
			if base == "" || s.Epoch != t.Epoch {
				base = "latest"
			}
			say("%s had what never came here, and kept it as salvage backup %s; look: understudy backups diff %s %s; get it: understudy restore %s --to DIR",
				s.Instance, s.Backup, base, s.Backup, s.Backup)
		}
	}
	if !t.told() {
		say("what came after backup %s on %s is not here: the failover to epoch %d did without it; %s keeps it as a salvage backup once its agent runs again, and that is told here", t.Restored, t.Old, t.Epoch, t.Old)
	}
	if t.CutOff != "" {
		say("the backups after %s, up to %s, are superseded by the promotion to epoch %d; they can still be restored: understudy backups", t.Restored, t.CutOff, t.Epoch)
	}
	return all
}

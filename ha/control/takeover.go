package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	// Moment is what the sources were brought to whose log has the time of each change.
	Moment *time.Time `json:"moment,omitempty"`
	// Salvaged is what instances that were replaced say that they kept.
	Salvaged []Salvaged `json:"salvaged,omitempty"`
	// Unstopped says that nothing on the host of the old one can stop its application:
	// it may run on, and nobody has given their word that it does not.
	Unstopped bool `json:"unstopped,omitempty"`
	// Brought are the logs of sources that came here with it.
	Brought []Brought `json:"brought,omitempty"`
	// Lost says in sentences what is not here, and how to look at it; none: nothing
	// was lost.
	Lost []string `json:"lost,omitempty"`

	recovered string // what a recovery of the bucket has to tell
}

// Salvaged is what one instance kept of the state that never reached its
// successor.
type Salvaged struct {
	Instance string `json:"instance"`
	Epoch    uint64 `json:"epoch"`            // that had begun
	Backup   string `json:"backup,omitempty"` // id of the salvage backup; "": it had nothing that was not here
}

// Takeover reads how an epoch began, and what was salvaged since; nil when its
// marker is not there.
func (c *Chain) Takeover(ctx context.Context, epoch uint64) (*Takeover, error) {
	object, attrs, err := c.store.Read(ctx, ha.KindMarker, ha.MarkerKey(epoch), "")
	if errors.Is(err, blobstore.ErrNotFound) || errors.Is(err, ErrUnverified) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	mk := object.(*ha.Marker)
	t := &Takeover{
		Epoch: mk.Epoch, Time: mk.Time, Mode: mk.Mode, By: mk.By, Reason: mk.Reason,
		Active: mk.Active.Name, Old: mk.Old.Name, Restored: IDOf(mk.Restored), CutOff: IDOf(mk.CutOff), Moment: mk.Moment,
	}
	if t.Unstopped, err = c.unstopped(ctx, mk); err != nil {
		return nil, err
	}
	if err := c.salvaged(ctx, t, attrs.Time); err != nil {
		return nil, err
	}
	if err := c.salvagedUntold(ctx, t, attrs.Time); err != nil {
		return nil, err
	}
	if mk.Recovery != nil {
		t.recovered = recoveryTells(mk.Recovery, mk.Active.Name)
	}
	t.Lost = t.lost()
	return t, nil
}

// unstopped reads whether the old active has acknowledged that it was replaced, and
// said that nothing there can stop its application.
func (c *Chain) unstopped(ctx context.Context, mk *ha.Marker) (bool, error) {
	if mk.Old.Name == "" || mk.AppIsStopped {
		return false, nil
	}
	object, _, err := c.store.Read(ctx, ha.KindAck, ha.AckKey(mk.Epoch, mk.Old), "")
	if errors.Is(err, blobstore.ErrNotFound) || errors.Is(err, ErrUnverified) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return object.(*ha.Ack).Unstopped, nil
}

// salvaged reads the records of what was salvaged for this takeover, or since.
func (c *Chain) salvaged(ctx context.Context, t *Takeover, since time.Time) error {
	listed, names, err := c.store.List(ctx, DemoteFolder)
	if err != nil {
		return err
	}
	for i, name := range names {
		if !strings.HasSuffix(name, ".salvage") || EpochIn(listed[i].Key) != t.Epoch && listed[i].Time.Before(since) {
			continue
		}
		object, _, err := c.store.Read(ctx, ha.KindSalvage, listed[i].Key, "")
		if errors.Is(err, blobstore.ErrNotFound) || errors.Is(err, ErrUnverified) {
			continue
		}
		if err != nil {
			return err
		}
		rec := object.(*ha.SalvageRecord)
		t.Salvaged = append(t.Salvaged, Salvaged{Instance: rec.Instance.Name, Epoch: rec.Epoch, Backup: IDOf(rec.Backup)})
	}
	return nil
}

// salvagedUntold adds what was salvaged since, and has no record.
func (c *Chain) salvagedUntold(ctx context.Context, t *Takeover, since time.Time) error {
	all, err := c.salvages(ctx, mostSalvages, func(ref backup.Ref, stored time.Time) bool {
		return !stored.Before(since) && !slices.ContainsFunc(t.Salvaged, func(s Salvaged) bool { return s.Backup == ref.ID })
	})
	for _, s := range all {
		if s.m != nil {
			t.Salvaged = append(t.Salvaged, Salvaged{Instance: s.m.Instance, Epoch: s.ref.Epoch + 1, Backup: s.ref.ID})
		}
	}
	return err
}

// IDOf is the id of a backup that may be none: then "".
func IDOf(ref *backup.Ref) string {
	if ref == nil {
		return ""
	}
	return ref.ID
}

// Told reports whether nothing more is to come from the old active: it handed
// over, or has said what it kept.
func (t *Takeover) Told() bool {
	return t.Mode != ha.ModeFailover || t.Old == t.Active ||
		slices.ContainsFunc(t.Salvaged, func(s Salvaged) bool { return s.Epoch == t.Epoch && s.Instance == t.Old })
}

// lost says in sentences what is not here, and how to look at it.
func (t *Takeover) lost() []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if t.recovered != "" {
		say("%s", t.recovered)
	}
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
	if !t.Told() {
		but := ""
		if len(t.Brought) > 0 {
			but = ", but for logs that were shipped,"
		}
		what := "backup " + t.Restored
		if t.Moment != nil {
			what += " (of logs with times: after " + ha.MomentText(*t.Moment) + ")"
		}
		say("what came after %s on %s%s is not here: the failover to epoch %d did without it; %s keeps it as a salvage backup once its agent runs again, and that is told here", what, t.Old, but, t.Epoch, t.Old)
	}
	if len(all) > 0 && t.Mode == ha.ModeFailover {
		for _, b := range t.Brought {
			say("of %s all that was shipped is here: what was read on %s up to %s", b.Source, t.Old, b.UpTo.UTC().Format("2006-01-02 15:04:05.0 UTC"))
		}
	}
	if t.CutOff != "" {
		say("the backups after %s, up to %s, are superseded by the promotion to epoch %d; they can still be restored: understudy backups", t.Restored, t.CutOff, t.Epoch)
	}
	return all
}

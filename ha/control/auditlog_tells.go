package control

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

// EpochIn reads the epoch in the name of an object under demote/.
func EpochIn(key string) uint64 {
	name, _, _ := strings.Cut(strings.TrimPrefix(key, DemoteFolder), ".")
	n, _ := strconv.ParseUint(name, 10, 64) // 0 where there is none
	return n
}

// controlTells says what a verified control object tells, and which branch it
// cut off.
func controlTells(object any) (e ClusterEvent, cut *backup.Ref) {
	switch o := object.(type) {
	case *ha.Cluster:
		return ClusterEvent{Kind: ClusterKind, Time: o.Time, Text: "the cluster was made"}, nil
	case *ha.Marker:
		e = ClusterEvent{Kind: PromotionKind, Time: o.Time, Epoch: o.Epoch, Instance: o.Active.Name, By: o.By, Reason: o.Reason, Mode: o.Mode}
		if o.Recovery != nil {
			e.Kind, e.Text = RecoveryKind, recoveryTells(o.Recovery, o.Active.Name)
			return e, o.CutOff
		}
		e.Text = o.Active.Name + " became the active"
		if o.Old.Name != "" && o.Old.Name != o.Active.Name {
			e.Text += " in place of " + o.Old.Name
		}
		if o.Mode != "" {
			e.Text += ", by " + string(o.Mode)
		}
		if o.HostIsOff {
			e.Text += ", on the word that the host of the old active is off"
		}
		if o.AppIsStopped {
			e.Text += ", on the word that the application of the old active is stopped"
		}
		if o.Restored != nil {
			e.Backup = o.Restored.ID
			e.Text += ", from backup " + e.Backup
		}
		if o.Moment != nil {
			e.Text += " and the log up to " + ha.MomentText(*o.Moment)
		}
		if o.CutOff != nil {
			e.Text += "; what came after it, up to " + o.CutOff.ID + ", is superseded"
		}
		return e, o.CutOff
	case *ha.Ack:
		e = ClusterEvent{Kind: DemotionKind, Time: o.Time, Epoch: o.Epoch, Instance: o.Instance.Name}
		e.Text = o.Instance.Name + " stepped down: its application has stopped"
		if o.Unstopped {
			e.Text = o.Instance.Name + " stepped down: nothing there can stop its application, and whether that runs is not known"
		}
		return e, nil
	case *ha.SalvageRecord:
		e = ClusterEvent{Kind: SalvageKind, Time: o.Time, Epoch: o.Epoch, Instance: o.Instance.Name}
		e.Text = o.Instance.Name + " had nothing that its successor lacks"
		if o.Backup != nil {
			e.Backup = o.Backup.ID
			e.Text = o.Instance.Name + " kept what never reached its successor: salvage backup " + e.Backup
		}
		if o.Unstopped {
			e.Text += "; nothing there can stop its application, and what that has written since is in no backup"
		}
		return e, nil
	}
	return e, nil
}

// recoveryTells says what a recovery was.
func recoveryTells(r *ha.Recovery, active string) string {
	text := fmt.Sprintf("the bucket was put back to an earlier state (epoch %d, rev %d, when epoch %d, rev %d had been seen); the cluster went on from it in epoch %d, with %s as the active",
		r.Shown.Epoch, r.Shown.Rev, r.Over.Epoch, r.Over.Rev, r.Epoch, active)
	if r.Missing > 0 {
		text += fmt.Sprintf("; %d backups are lost", r.Missing)
		if r.Newest != nil {
			text += ", of those up to " + r.Newest.ID
		}
	}
	for _, lost := range r.Lost {
		text += "; lost: " + lost
	}
	if len(r.Unasked) > 0 {
		text += "; not asked, on an operator's word: " + strings.Join(r.Unasked, ", ")
	}
	return text
}

package ha

import (
	"cmp"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// demotionLane is what an instance does that was superseded, or refused: it stops, and
// keeps what it has.
type demotionLane struct {
	*core
	head      *headLane
	control   *controlLane
	identity  *identityLane
	app       *appLane
	schedule  *scheduleLane
	work      *workLane
	rejoin    *rejoinLane
	promotion *promotionLane

	retryAt instant
	wait    time.Duration
}

// superseded begins to step down: the head is in a later epoch.
func (dl *demotionLane) superseded(h *Head) {
	d := &Demotion{Epoch: dl.j.Epoch}
	if h.Epoch == dl.j.Epoch+1 {
		d.Restored, d.Tip, d.Known = h.StartedFrom, h.CutOff, true
		if h.CutOff == nil {
			d.Ends = h.Ended
		}
	}
	// Where other epochs lie between, this instance may have led one of them, and
	// been put back.
	// A journal that was put back to a handover does not know that it was taken back.
	if hj := dl.j.Handover; hj != nil && h.Epoch == dl.j.Epoch+1 && hj.Lease == h.Handed && !hj.Unsure {
		d.Final = hj.Final
	}
	if old := dl.j.Demotion; old != nil && old.Refused {
		d.Silent = true // whether the original's application runs it does not know
		if old.Made && !old.Unstopped && dl.identity.hasKept() && h.Epoch <= old.Epoch+1 {
			d.Made, d.Salvage, d.Told = true, old.Salvage, old.Told // it has not run since
		} else {
			d.Kept = old.kept()
		}
	}
	if p := dl.j.Promotion; p != nil && p.Phase == PhaseFinish {
		// It committed, and was superseded before it was through.
		d.Silent = !p.Acked
		dl.promotion.end()
	}
	dl.j.Role, dl.j.Demotion, dl.j.Handover = RoleStandby, d, nil
	dl.j.Floor, dl.j.First, dl.j.Paused, dl.j.Holder = 0, false, nil, nil
	dl.identity.stepsBack()
	dl.app.forget()
	dl.schedule.forgetError()
	dl.schedule.drop(&Refusal{Reason: fmt.Sprintf("%s became the active in epoch %d: this instance steps down", h.Active.Name, h.Epoch)})
	dl.save(stepDemotionBegun)
	dl.report(Alarm, "demotion", "%s became the active in epoch %d: stepping down", h.Active.Name, h.Epoch)
}

// plan picks the next request of an instance that steps down.
func (dl *demotionLane) plan() bool {
	d := dl.j.Demotion
	switch {
	case d == nil || dl.j.Promotion != nil || dl.j.Role == RoleActive || dl.identity.refusal() != "":
		return false
	case !d.Acked:
		if !dl.app.is(appStopped) {
			return false
		}
		if d.Silent {
			d.Acked, d.Unstopped = true, dl.app.isUnstopped()
			dl.save(stepDemotionAcked)
			return true
		}
		unstopped := dl.app.isUnstopped()
		dl.control.tell(stepAck, KindAck, AckKey(d.Epoch+1, dl.p.Self), &Ack{
			Format: Format, Cluster: dl.p.Cluster, Epoch: d.Epoch + 1, Nonce: dl.random(), Instance: dl.p.Self, Unstopped: unstopped, Time: dl.now.Wall,
		}, func() {
			d.Acked, d.Unstopped = true, unstopped
			dl.passes(stepDemotionAcked)
			if unstopped {
				dl.report(Alarm, "demotion", "nothing here can stop the application, and the acknowledgement says so: if it still runs, stop it; what it writes from now on never reaches the new active")
				return
			}
			dl.report(Info, "demotion", "the application has stopped; acknowledged")
		})
		return true
	case !d.Known:
		dl.control.read(KindMarker, MarkerKey(d.Epoch+1), "", func(r Done) {
			if r.Outcome == Unknown {
				return
			}
			if mk, ok := r.Object.(*Marker); ok && r.Outcome == OK {
				d.Restored, d.Tip = mk.Restored, mk.CutOff
			}
			d.Known = true // without a marker, nothing is known to have been restored: everything is kept
			dl.save(stepDemotionKnown)
		})
		return true
	case d.Made && d.Told:
		dl.steppedDown()
		dl.save(stepSeen)
		return true
	case d.Made:
		dl.tellSalvage(d, dl.steppedDown)
		return true
	}
	return false
}

func (dl *demotionLane) steppedDown() {
	dl.rejoin.steppedDown(dl.j.Demotion)
	dl.j.Demotion = nil
	dl.passes(stepDemotionEnded)
	dl.report(Info, "demotion", "stepped down: this instance is a standby")
}

// salvageNow has a salvage backup made at once.
func (dl *demotionLane) salvageNow() { dl.retryAt, dl.wait = 0, 0 }

// planUntold has the bucket list what was salvaged before anything else: a
// promotion ends the demotion, and of a refused active nobody knows whether a
// later epoch ever begins, or what becomes of its data folder.
func (dl *demotionLane) planUntold() bool {
	d := dl.j.Demotion
	if d == nil || !d.Made || d.Salvage == nil || d.Told {
		return false
	}
	dl.tellSalvage(d, func() {})
	return true
}

// tellSalvage has the bucket list what was salvaged, or that nothing was.
func (dl *demotionLane) tellSalvage(d *Demotion, then func()) {
	if dl.control.looksFor(d.Salvage, func() { dl.salvageAgain(d) }) {
		return
	}
	dl.control.tell(stepSalvageRecord, KindSalvage, SalvageKey(d.Epoch+1, dl.p.Self, d.Salvage), &SalvageRecord{
		Format: Format, Cluster: dl.p.Cluster, Epoch: d.Epoch + 1, Nonce: dl.random(), Instance: dl.p.Self, Backup: d.Salvage, Unstopped: d.Unstopped, Time: dl.now.Wall,
	}, func() {
		d.Told = true
		then()
	})
}

// planSalvage keeps the state that never reached the successor. It reports
// false while there is nothing to do.
func (dl *demotionLane) planSalvage(d *Demotion) bool {
	against, ends := d.Restored, d.Ends
	if d.Final != nil && (same(d.Final, d.Restored) || same(d.Final, d.Tip)) {
		if !d.Unstopped {
			dl.salvaged(d, Done{}) // the final backup of the handover has everything
			return false
		}
		against, ends = d.Final, nil // it has, if the word that the application was stopped is true
	}
	if !dl.app.is(appStopped) || !dl.due(dl.retryAt) {
		return false
	}
	epoch, seq := d.Epoch, uint64(0)
	if d.Restored != nil { // one of a later epoch than this instance knows of, where it was put back
		epoch, seq = max(epoch, d.Restored.Epoch), d.Restored.Sequence
	}
	if d.Tip != nil {
		seq = max(seq, d.Tip.Sequence)
	}
	if d.Kept != nil {
		ends = nil
		against, epoch, seq = d.Kept, max(epoch, d.Kept.Epoch), max(seq, d.Kept.Sequence)
	}
	id := dl.work.begin("salvage", func(r Done) {
		if r.Outcome != OK {
			// A database that is still down must not keep pulls from going on.
			dl.wait = min(max(workRetry, 2*dl.wait), workRetryMax)
			dl.retryAt = dl.t + dl.wait
			dl.report(Alarm, "salvage", "the salvage backup failed (tried again in %v): %s", dl.wait, errText(r.Err))
			return
		}
		dl.salvaged(d, r)
	})
	dl.emit(MakeSalvage{ID: id, Epoch: epoch, Sequence: seq + 1, Against: against, Ends: ends, Config: dl.head.config()})
	return true
}

func (dl *demotionLane) salvaged(d *Demotion, r Done) {
	if dl.j.Demotion != d {
		return
	}
	d.Made, d.Salvage, d.Unstopped = true, cmp.Or(r.Ref, d.Kept), d.Unstopped || dl.app.isUnstopped()
	if r.Ref != nil {
		dl.control.made()
	} else {
		dl.control.notMade() // what an earlier process made is looked for
	}
	dl.save(stepDemotionMade)
	if r.Ref != nil {
		dl.report(Warn, "demotion", "salvage backup %s holds what never reached the new active", r.Ref.ID)
	} else {
		dl.report(Info, "demotion", "every change is in a backup: nothing to salvage")
	}
	if d.Unstopped {
		dl.report(Warn, "demotion", "nothing here can stop the application: what it has written since this look, if it runs, is in no backup")
	}
}

// saysTheSame reports whether two objects that are written once say the same, by
// whomever and whenever they were written.
func saysTheSame(x, y any) bool {
	switch x := x.(type) {
	case *Marker:
		y, ok := y.(*Marker)
		return ok && x.Epoch == y.Epoch && x.Active.Name == y.Active.Name && alike(x.Restored, y.Restored) && alike(x.CutOff, y.CutOff)
	case *Ack:
		y, ok := y.(*Ack)
		return ok && x.Epoch == y.Epoch && x.Instance.Incarnation == y.Instance.Incarnation
	case *SalvageRecord:
		y, ok := y.(*SalvageRecord)
		return ok && x.Epoch == y.Epoch && x.Instance.Name == y.Instance.Name && alike(x.Backup, y.Backup)
	}
	return false
}

// alike reports whether two name the same backup, or none.
func alike(a, b *backup.Ref) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ID == b.ID && a.Digest == b.Digest
}

func same(a, b *backup.Ref) bool { return a != nil && b != nil && a.ID == b.ID }

// salvageAgain has a salvage backup that the bucket has lost made again.
func (dl *demotionLane) salvageAgain(d *Demotion) {
	if dl.j.Demotion != d {
		return
	}
	d.Made, d.Salvage, d.Kept = false, nil, nil
	dl.save(stepSeen)
}

package ha

import (
	"cmp"
	"fmt"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
)

// superseded begins to step down: the head is in a later epoch.
func (m *Machine) superseded(h *Head) {
	d := &Demotion{Epoch: m.j.Epoch}
	if h.Epoch == m.j.Epoch+1 {
		d.Restored, d.Tip, d.Known = h.StartedFrom, h.CutOff, true
	}
	// Where other epochs lie between, this instance may have led one of them, and
	// been put back.
	// A journal that was put back to a handover does not know that it was taken back.
	if hj := m.j.Handover; hj != nil && h.Epoch == m.j.Epoch+1 && hj.Lease == h.Handed {
		d.Final = hj.Final
	}
	if old := m.j.Demotion; old != nil && old.Refused {
		d.Silent = true // whether the original's application runs it does not know
		if old.Made && !old.Unstopped && m.kept && h.Epoch <= old.Epoch+1 {
			d.Made, d.Salvage, d.Told = true, old.Salvage, old.Told // it has not run since
		} else {
			d.Kept = old.kept()
		}
	}
	if p := m.j.Promotion; p != nil && p.Phase == PhaseFinish {
		// It committed, and was superseded before it was through.
		d.Silent = !p.Acked
		m.endPromotion()
	}
	m.j.Role, m.j.Demotion, m.j.Handover = RoleStandby, d, nil
	m.j.Floor, m.j.First, m.j.Paused, m.j.Holder = 0, false, nil, nil
	m.stepsBack()
	m.forgetApp()
	m.forgetBackupError()
	m.dropBackup(&Refusal{Reason: fmt.Sprintf("%s became the active in epoch %d: this instance steps down", h.Active.Name, h.Epoch)})
	m.save(stepDemotionBegun)
	m.report(Alarm, "demotion", "%s became the active in epoch %d: stepping down", h.Active.Name, h.Epoch)
}

// planDemotion picks the next request of an instance that steps down.
func (m *Machine) planDemotion() bool {
	d := m.j.Demotion
	switch {
	case d == nil || m.j.Promotion != nil || m.j.Role == RoleActive || m.refused != "":
		return false
	case !d.Acked:
		if !m.isApp(appStopped) {
			return false
		}
		if d.Silent {
			d.Acked, d.Unstopped = true, m.unstopped
			m.save(stepDemotionAcked)
			return true
		}
		unstopped := m.unstopped
		m.tell(stepAck, KindAck, AckKey(d.Epoch+1, m.p.Self), &Ack{
			Format: Format, Cluster: m.p.Cluster, Epoch: d.Epoch + 1, Nonce: m.random(), Instance: m.p.Self, Unstopped: unstopped, Time: m.now.Wall,
		}, func() {
			d.Acked, d.Unstopped = true, unstopped
			m.passes(stepDemotionAcked)
			if unstopped {
				m.report(Alarm, "demotion", "nothing here can stop the application, and the acknowledgement says so: if it still runs, stop it; what it writes from now on never reaches the new active")
				return
			}
			m.report(Info, "demotion", "the application has stopped; acknowledged")
		})
		return true
	case !d.Known:
		m.read(KindMarker, MarkerKey(d.Epoch+1), "", func(r Done) {
			if r.Outcome == Unknown {
				return
			}
			if mk, ok := r.Object.(*Marker); ok && r.Outcome == OK {
				d.Restored, d.Tip = mk.Restored, mk.CutOff
			}
			d.Known = true // without a marker, nothing is known to have been restored: everything is kept
			m.save(stepDemotionKnown)
		})
		return true
	case d.Made && d.Told:
		m.steppedDown()
		m.save(stepSeen)
		return true
	case d.Made:
		m.tellSalvage(d, m.steppedDown)
		return true
	}
	return false
}

func (m *Machine) steppedDown() {
	m.j.Demotion = nil
	m.passes(stepDemotionEnded)
	m.report(Info, "demotion", "stepped down: this instance is a standby")
}

// salvageNow has a salvage backup made at once.
func (m *Machine) salvageNow() { m.salvageAt, m.salvageWait = 0, 0 }

// planUntold has the bucket list what was salvaged before anything else: a
// promotion ends the demotion, and of a refused active nobody knows whether a
// later epoch ever begins, or what becomes of its data folder.
func (m *Machine) planUntold() bool {
	d := m.j.Demotion
	if d == nil || !d.Made || d.Salvage == nil || d.Told {
		return false
	}
	m.tellSalvage(d, func() {})
	return true
}

// tellSalvage has the bucket list what was salvaged, or that nothing was.
func (m *Machine) tellSalvage(d *Demotion, then func()) {
	if m.waitedUnnamed(d.Salvage, func() { m.salvageAgain(d) }) {
		return
	}
	m.tell(stepSalvageRecord, KindSalvage, SalvageKey(d.Epoch+1, m.p.Self, d.Salvage), &SalvageRecord{
		Format: Format, Cluster: m.p.Cluster, Epoch: d.Epoch + 1, Nonce: m.random(), Instance: m.p.Self, Backup: d.Salvage, Unstopped: d.Unstopped, Time: m.now.Wall,
	}, func() {
		d.Told = true
		then()
	})
}

// tell writes an object that is written once. One that is there already is an
// earlier attempt, or another instance's that says the same, which is looked at
// before that is believed: whoever can write to the bucket can put something else
// there, and a bucket that was put back has another history's. Nothing that is
// signed is replaced: something else may lead to a backup by it.
func (m *Machine) tell(step WriteStep, kind Kind, key string, object any, then func()) {
	m.write(step, kind, key, object, blobstore.IfAbsent(), func(d Done) {
		if d.Outcome == OK {
			then()
			m.save(stepSeen)
		}
		if d.Outcome != Lost {
			return
		}
		m.read(kind, key, "", func(d Done) {
			switch d.Outcome {
			case OK:
				if !saysTheSame(object, d.Object) {
					m.report(Alarm, "bucket", "%s is there already, and says something else than this instance has to say: it is left as it is", key)
				}
				then()
				m.save(stepSeen)
			case Unverified:
				m.report(Alarm, "bucket", "%s cannot be verified, and is replaced: %s", key, errText(d.Err))
				m.write(step, kind, key, object, blobstore.IfMatch(d.Token), func(d Done) {
					if d.Outcome == OK {
						then()
						m.save(stepSeen)
					}
				})
			}
		})
	})
}

// planSalvage keeps the state that never reached the successor. It reports
// false while there is nothing to do.
func (m *Machine) planSalvage(d *Demotion) bool {
	against := d.Restored
	if d.Final != nil && (same(d.Final, d.Restored) || same(d.Final, d.Tip)) {
		if !d.Unstopped {
			m.salvaged(d, Done{}) // the final backup of the handover has everything
			return false
		}
		against = d.Final // it has, if the word that the application was stopped is true
	}
	if !m.isApp(appStopped) || !m.due(m.salvageAt) {
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
		against, epoch, seq = d.Kept, max(epoch, d.Kept.Epoch), max(seq, d.Kept.Sequence)
	}
	id := m.begin("salvage", func(r Done) {
		if r.Outcome != OK {
			// A database that is still down must not keep pulls from going on.
			m.salvageWait = min(max(workRetry, 2*m.salvageWait), workRetryMax)
			m.salvageAt = m.t + m.salvageWait
			m.report(Alarm, "salvage", "the salvage backup failed (tried again in %v): %s", m.salvageWait, errText(r.Err))
			return
		}
		m.salvaged(d, r)
	})
	m.emit(MakeSalvage{ID: id, Epoch: epoch, Sequence: seq + 1, Against: against, Config: m.configDigest()})
	return true
}

func (m *Machine) salvaged(d *Demotion, r Done) {
	if m.j.Demotion != d {
		return
	}
	d.Made, d.Salvage, d.Unstopped = true, cmp.Or(r.Ref, d.Kept), d.Unstopped || m.unstopped
	if m.foundAt = never; r.Ref != nil {
		m.made()
	}
	m.save(stepDemotionMade)
	if r.Ref != nil {
		m.report(Warn, "demotion", "salvage backup %s holds what never reached the new active", r.Ref.ID)
	} else {
		m.report(Info, "demotion", "every change is in a backup: nothing to salvage")
	}
	if d.Unstopped {
		m.report(Warn, "demotion", "nothing here can stop the application: what it has written since this look, if it runs, is in no backup")
	}
}

func (m *Machine) configDigest() string {
	if h := m.knownHead(); h != nil {
		return h.Config
	}
	return ""
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

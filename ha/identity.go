package ha

import "github.com/understudy-ha/understudy/backup"

// A name is no identity: a host that is copied, cloned or put back to an earlier
// state has the name, the journal and the incarnations of its original, or of its
// own past. What tells them apart is the head, whose nonces the true one knows, and
// what the agent knows of its data folder (Journal.Doubt). Whoever cannot be the
// true one is refused: its application stays stopped, it acknowledges nothing, and
// what it has is kept as a salvage backup before anything can replace it.

// judge says what a head that was read means for this instance. Writes of its own
// that are unresolved come first.
func (m *Machine) judge() {
	h := m.head
	if m.j.Doubt != "" {
		m.doubted(h)
		return
	}
	if m.j.Pending != nil {
		return
	}
	active := m.j.Role == RoleActive
	switch {
	case m.heir(h):
		m.inherit(h)
	case active && h.Epoch > m.j.Epoch:
		m.deposed(h)
	case active && h.Nonce == m.j.Last.Nonce:
		m.refused, m.j.Demotion = "", nil
		m.j.Fencing = []Fencing{h.Fencing} // saved with the next write, which comes first
	case active || m.named(h):
		m.foreign(h)
	case m.refused != "":
		m.refused = ""
		m.report(Info, "identity", "%s is the active: this instance is a standby again", h.Active.Name)
	}
}

// leads notes that this process has confirmed a head of its own.
func (m *Machine) leads() { m.leading, m.refused = true, "" }

// stepsBack has this process lead no more, until a head says so.
func (m *Machine) stepsBack() { m.leading, m.refused = false, "" }

// accepts ends a refusal: the instance has become the active.
func (m *Machine) accepts() { m.refused = "" }

// named reports whether a head names this instance as the active.
func (m *Machine) named(h *Head) bool { return h.Active.Name == m.p.Self.Name }

// deposed follows a head of a later epoch: another instance was promoted, or this
// one was, and its data folder does not know, because it was put back or is a copy.
func (m *Machine) deposed(h *Head) {
	if m.named(h) {
		m.foreign(h)
		return
	}
	m.superseded(h)
}

// foreign refuses an instance that finds a head under its own name that it did not
// write: a second host, a cloned or restored one, or a copied data folder. A
// standby that finds one was the active, and was put back to before.
func (m *Machine) foreign(h *Head) {
	m.leading = false
	m.endStale(h.Epoch)
	if m.refused != "" {
		return
	}
	m.refused = "head.json was written by another process under the name " + h.Active.Name + " (epoch " + utoa(h.Epoch) +
		", incarnation " + h.Active.Incarnation + ", rev " + utoa(h.Rev) + "; this data folder's last was " + m.lastWritten() +
		"): this data folder is a copy, or was restored from an old one, or a second host has this name; its state is kept as a salvage backup; " +
		"promote this instance (understudy promote --failover) or, once that backup is made, join it afresh with: understudy join --replace"
	m.owe(h)
	m.dropBackup(&Refusal{Reason: m.refused})
	m.report(Alarm, "identity", "not active: %s", m.refused)
}

func (m *Machine) lastWritten() string {
	if m.j.Last.Nonce == "" {
		return "none"
	}
	return "epoch " + utoa(m.j.Last.Epoch) + ", rev " + utoa(m.j.Last.Rev)
}

// owe notes that a refused instance owes a salvage backup: should it be the
// original after all, it has what no backup has. What this process has made in this
// epoch has everything: it has not run its application since. Of what an earlier
// process made nobody knows that, for the journal may have been put back to before
// this instance led again, or to before an operator started its application.
func (m *Machine) owe(h *Head) {
	d, kept := m.j.Demotion, m.kept
	m.kept = true
	if kept && d != nil && d.Refused && (d.Epoch == h.Epoch || m.j.Doubt != "") {
		return
	}
	m.j.Demotion = &Demotion{Epoch: h.Epoch, Acked: true, Known: true, Refused: true, Restored: h.Newest, Kept: d.kept()}
	m.salvageNow()
	m.save(stepDemotionBegun)
}

// kept is the salvage backup that a refused process has made; nil: there is none.
func (d *Demotion) kept() *backup.Ref {
	if d == nil || !d.Refused || !d.Made {
		return nil
	}
	return d.Salvage
}

// frozen reports whether the data folder may be a copy, so that what is unfinished
// in its journal is left alone: the original finishes it. An operator ends that, by
// accepting the data folder, or by promoting the instance.
func (m *Machine) frozen() bool {
	p := m.j.Promotion
	return m.j.Doubt != "" && (p == nil || !m.isBegun(p))
}

// doubted refuses an instance whose data folder may be a copy, or put back. Its
// journal says nothing of what it was since: its state may be in no backup. A swap
// that is unfinished by the journal is settled first, once an operator has spoken;
// that this instance led since is noted until then.
func (m *Machine) doubted(h *Head) {
	m.leading = false
	switch {
	case !m.frozen() || !m.j.Promotion.swapping():
		m.owe(h)
	case m.named(h) && h.Epoch > m.j.Epoch && m.j.Missed == 0:
		m.j.Missed = h.Epoch
		m.save(stepSeen)
	}
}

// planFrozen keeps what a refused instance has, and looks at the head.
func (m *Machine) planFrozen() {
	switch {
	case m.planUntold():
	case !m.j.Promotion.swapping() && m.planMissed():
	default:
		m.planStandby()
	}
}

// noteMissed notes the epochs that began and ended since a standby last looked.
func (m *Machine) noteMissed(seen, now uint64) {
	if m.j.Role != RoleActive && seen > 0 && now > seen+1 && m.j.Missed == 0 {
		m.j.Missed = seen + 1
	}
}

// planMissed reads who was active in epochs that a standby has not seen. It was
// itself where its data folder was put back to before: then it has what it wrote as
// the active, and that is kept before anything else. So it is where nobody can tell:
// somebody may have deleted the marker.
func (m *Machine) planMissed() bool {
	if m.j.Missed == 0 {
		return false
	}
	if m.j.Role == RoleActive || m.j.Missed >= m.head.Epoch {
		m.j.Missed = 0
		m.save(stepSeen)
		return false
	}
	epoch := m.j.Missed
	m.read(KindMarker, MarkerKey(epoch), "", func(d Done) {
		if d.Outcome == Unknown {
			return
		}
		mk, ok := d.Object.(*Marker)
		switch known := ok && d.Outcome == OK; {
		case !known:
			m.wasActive(epoch, "who was the active in epoch "+utoa(epoch)+" is not known, for its marker is missing or cannot be verified: it may have been this instance, whose data folder was put back since")
		case mk.Active.Name == m.p.Self.Name:
			m.wasActive(epoch, "this data folder was put back, or is a copy: "+m.p.Self.Name+" was the active in epoch "+utoa(epoch)+", and the journal does not know")
		}
		m.j.Missed = epoch + 1
		m.save(stepSeen)
	})
	return true
}

// wasActive has a standby that was put back keep the state that it may have
// written as the active of a later epoch than its journal knows.
func (m *Machine) wasActive(epoch uint64, why string) {
	h := m.knownHead()
	m.j.Demotion = &Demotion{Epoch: epoch, Acked: true, Known: true, Restored: h.Newest}
	m.passes(stepDemotionBegun)
	m.endStale(epoch)
	m.abort("this data folder was put back to before epoch %d: its state is kept as a salvage backup first", epoch)
	m.report(Alarm, "identity", "%s; its state is kept as a salvage backup", why)
}

// endStale ends a promotion that the journal takes for unfinished though it was
// committed, in this epoch or before: the data folder was put back. What it swapped
// in has been written to since, so it is not swapped back.
func (m *Machine) endStale(epoch uint64) {
	p := m.j.Promotion
	switch {
	case p == nil || m.frozen():
	case p.Undone, p.Phase == PhaseRollback && m.does(workRollback): // the head did not say so when that began
	case p.Phase == PhaseFinish:
		m.endPromotion()
	case !m.maybeSwapped() || p.Epoch == 0 || p.Epoch >= epoch:
	case m.isBegun(p):
		m.abort("another process under the name of this instance became the active in epoch %d", epoch)
	default:
		m.swapCommitted()
		m.j.Promotion = nil
		m.dropLease()
		m.refuse(p.ID, "this data folder was put back to before the end of this promotion")
		m.save(stepPromotionEnded)
	}
}

// JoinJournal is the journal with which an instance joins a cluster as a standby,
// where the old one is zero or what its data folder has. Of an old one in the same
// cluster it keeps the highest head seen, and what the instance owes: the state of
// an active is kept as a salvage backup before anything can replace it.
func JoinJournal(old Journal, cluster, instance string, h *Head) Journal {
	j := Journal{
		Format: Format, Cluster: cluster, Instance: instance, Role: RoleStandby,
		Seen: Position{h.Epoch, h.Rev, h.Nonce},
	}
	if old.Cluster != cluster {
		return j
	}
	j.SeenHead, j.Former, j.Unkept = old.SeenHead, old.Former, old.Unkept
	j.Seen, j.Missed, j.Demotion, j.Epoch = old.Seen, old.Missed, old.Demotion, old.Epoch
	renamed := old.Instance != instance && (h.Active.Name == old.Instance || old.Missed > 0 || old.Seen.Epoch > 0 && h.Epoch > old.Seen.Epoch+1)
	if old.Role == RoleActive || old.Doubt != "" || renamed {
		j.Demotion, j.Missed = Owed(old.Epoch, h), 0 // whatever it was since
		j.Demotion.Kept = old.Demotion.kept()
	}
	return j
}

// Owed is a salvage backup that an instance owes which does not know what became of
// its state. Whether an application runs elsewhere it does not know either, so it
// acknowledges nothing. The backup comes after the newest one, in no earlier epoch.
func Owed(epoch uint64, h *Head) *Demotion {
	if h.Newest != nil {
		epoch = max(epoch, h.Newest.Epoch)
	}
	return &Demotion{Epoch: epoch, Acked: true, Silent: true, Known: true, Restored: h.Newest}
}

// Suspect notes that the data folder was found to be a copy, or put back. What its
// journal says of a salvage backup that a refused process made is of before that.
func (j *Journal) Suspect(why string) {
	j.Doubt = why
	if d := j.Demotion; d != nil && d.Refused {
		j.Demotion = nil
	}
}

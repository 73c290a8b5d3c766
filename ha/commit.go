package ha

import "github.com/understudy-ha/understudy/blobstore"

// The commit is the one moment that decides: a compare-and-swap of the head to
// the next epoch, pinned to what the promotion is based on.

// planCommit looks at the lease once more, then at the head, then commits.
func (m *Machine) planCommit() bool {
	switch m.commitStep {
	case 0:
		m.readLease(func() {
			p, l := m.j.Promotion, m.lease.lease
			if p == nil || p.Phase != PhaseCommit {
				return
			}
			if !m.hold.held || l == nil || l.ID != p.ID || l.Released {
				m.abort("the promotion lease was lost before the commit")
				return
			}
			m.commitStep = 1
		})
	case 1:
		m.readHead(func() {
			p := m.j.Promotion
			if p == nil || p.Phase != PhaseCommit {
				return
			}
			if why := m.pinBroken(); why != "" {
				m.abort("%s", why)
				return
			}
			m.commitStep = 2
			if m.head.Epoch <= max(1, m.j.Marked) {
				m.commitStep = 3
			}
		})
	case 2:
		m.leaveMarker()
	default:
		m.replaced = m.headSince
		m.writeHead()
	}
	return true
}

// leaveMarker writes the marker of the epoch that the commit ends, unless it is
// there: its active may not have come to it, and nobody else would.
func (m *Machine) leaveMarker() {
	h := m.head
	m.write(KindMarker, MarkerKey(h.Epoch), &Marker{
		Format: Format, Cluster: m.p.Cluster, Epoch: h.Epoch, Nonce: m.random(),
		Active: h.Active, Restored: h.StartedFrom, CutOff: h.CutOff, Time: m.now.Wall,
	}, blobstore.IfAbsent(), func(d Done) {
		if d.Outcome == OK || d.Outcome == Lost {
			m.j.Marked = max(m.j.Marked, h.Epoch)
			m.commitStep = 3
		}
	})
}

// pinBroken says what of the pinned head has changed, heartbeats aside.
func (m *Machine) pinBroken() string {
	p, h := m.j.Promotion, m.head
	ho := h.Handover
	switch {
	case h.Epoch != p.Epoch:
		return h.Active.Name + " became the active in epoch " + utoa(h.Epoch) + " meanwhile"
	case p.Mode == ModeSwitchover && (ho == nil || ho.Lease != p.ID || ho.State != Handed):
		return "the active " + h.Active.Name + " took itself back"
	case p.Mode == ModeFailover && h.Active.Incarnation != p.Old.Incarnation:
		return "the active " + h.Active.Name + " was started anew meanwhile: look again"
	case p.Phase == PhaseCommit && h.Newest.Digest != p.Newest.Digest:
		return "a newer backup appeared: " + h.Newest.ID + ": look again"
	}
	return ""
}

// commitHead is the head that begins the next epoch.
func (m *Machine) commitHead() *Head {
	p := m.j.Promotion
	h := *m.head
	h.Epoch++
	h.Newest, h.StartedFrom, h.CutOff = p.Backup, p.Backup, nil
	if m.head.Newest.ID != p.Backup.ID {
		h.CutOff = m.head.Newest
	}
	h.Handover = nil
	return &h
}

// commitLost follows a commit that another write of the head came before. If
// that was a heartbeat alone, it is tried again.
func (m *Machine) commitLost() {
	if !m.hold.held {
		m.abort("the agent was restarted before the commit")
		return
	}
	m.commitStep = 1
}

// lookBack finds out what became of a commit when a later epoch has begun
// since: the marker of its own epoch says who began that one.
func (m *Machine) lookBack() {
	p := m.j.Promotion
	m.read(KindMarker, MarkerKey(p.Epoch+1), "", func(d Done) {
		if d.Outcome == Unknown {
			return
		}
		m.j.Pending = nil
		m.save()
		if mk, ok := d.Object.(*Marker); ok && mk.Active.Name == m.p.Self.Name {
			m.committed(p.Epoch + 1)
		} else {
			m.commitLost()
		}
		m.judge()
	})
}

// committed makes this instance the active of epoch. The caller saves.
func (m *Machine) committed(epoch uint64) {
	p := m.j.Promotion
	m.j.Role, m.j.Epoch, m.j.First = RoleActive, epoch, true
	m.j.Demotion, m.j.Handover = nil, nil
	m.refused = ""
	p.Phase = PhaseFinish
	// An active that handed over has stopped its application already.
	p.Acked = p.Mode == ModeSwitchover
	m.ackSince = m.t
	m.step("commit", "epoch "+utoa(epoch))
	if p.Old.URL != "" {
		m.emit(Notify{URL: p.Old.URL})
	}
}

// planFinish writes the marker, waits for the old active as far as that is
// due, and releases the lease once the application was started.
func (m *Machine) planFinish() bool {
	p := m.j.Promotion
	switch {
	case !m.leading:
		return false // after a restart: claim the head first
	case m.j.Marked < m.j.Epoch:
		m.writeMarker()
		return true
	case !p.Acked:
		return m.awaitAck(p)
	case m.app == appRunning && !p.Started:
		p.Started = true
		m.step("start", "")
		m.save()
	case p.Discarded && (m.app == appRunning || m.appErr != ""):
		m.readLease(m.releaseLease)
		return true
	}
	return false
}

// awaitAck waits for the old active to say that its application has stopped.
// With strict fencing nothing but that, or the time after which it has stopped
// in any case, lets the application start. Otherwise the wait is bounded, and
// there is none for an active that showed no sign of life.
func (m *Machine) awaitAck(p *Promotion) bool {
	f := m.fencing()
	until := m.replaced + m.silentAfter()
	if f.Mode != Strict {
		until = m.ackSince
		if p.OldAlive {
			until += 2*m.p.Poll + f.StopTimeout.std()
		}
	}
	if m.due(until) {
		m.acked("no acknowledgement")
		return false
	}
	if !m.due(m.finishRead) {
		return false
	}
	m.finishRead = m.t + handoverPoll
	m.read(KindAck, AckKey(m.j.Epoch, p.Old.Name), "", func(d Done) {
		// A copy of the old active's host has its name, and knows nothing of the
		// application on the original.
		if d.Outcome == OK && d.Object.(*Ack).Instance.Incarnation == p.Old.Incarnation {
			m.acked("acknowledged by " + p.Old.Name)
		}
	})
	return true
}

func (m *Machine) acked(note string) {
	if p := m.j.Promotion; p != nil && !p.Acked {
		p.Acked = true
		m.step("old active", note)
		m.save()
	}
}

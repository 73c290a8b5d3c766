package ha

// The commit is the one moment that decides: a compare-and-swap of the head to
// the next epoch, pinned to what the promotion is based on.

// commitStep is a step of a commit. Each follows the one before.
type commitStep int

const (
	commitLease  commitStep = iota // is the lease held still?
	commitPin                      // is the head as it was pinned?
	commitMarker                   // leave the marker of the epoch that ends
	commitSwap                     // compare and swap the head
)

// commitAfresh has a commit begin with its first step.
func (m *Machine) commitAfresh() { m.commitStep = commitLease }

// planCommit looks at the lease once more, then at the head, then commits.
func (m *Machine) planCommit() bool {
	switch m.commitStep {
	case commitLease:
		m.readLease(func() {
			p, l := m.j.Promotion, m.seenLease()
			if p == nil || p.Phase != PhaseCommit {
				return
			}
			if !m.holdsLease() || l == nil || l.ID != p.ID || l.Released {
				m.abort("the promotion lease was lost before the commit")
				return
			}
			m.commitStep = commitPin
		})
	case commitPin:
		m.readHead(func() {
			p := m.j.Promotion
			if p == nil || p.Phase != PhaseCommit {
				return
			}
			if why := m.pinBroken(); why != "" {
				m.abort("%s", why)
				return
			}
			m.commitStep = commitMarker
			if m.head.Epoch <= max(1, m.j.Marked) {
				m.commitStep = commitSwap
			}
		})
	case commitMarker:
		m.leaveMarker()
	case commitSwap:
		m.replaces()
		m.j.Promotion.AtRest, m.j.Promotion.Fencing = m.head.AtRest(), clone(&m.head.Fencing)
		m.writeHead()
	}
	return true
}

// leaveMarker writes the marker of the epoch that the commit ends, unless it is
// there: its active may not have come to it, and nobody else would.
func (m *Machine) leaveMarker() {
	h := m.head
	m.tell(stepMarker, KindMarker, MarkerKey(h.Epoch), m.marker(h), func() {
		m.j.Marked = max(m.j.Marked, h.Epoch)
		m.passes(stepMarked)
		m.commitStep = commitSwap
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
	case p.HostIsOff && h.Rev != p.Rev:
		return "the active " + h.Active.Name + " has renewed the head since its host was said to be off: it is not"
	case m.untrueStrict(h.Fencing):
		return RefuseStrict(m.p.Self.Name)
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
	h.Handed = ""
	if ho := m.head.Handover; ho != nil && ho.State == Handed {
		h.Handed = ho.Lease
	}
	h.Handover, h.Stopped = nil, false
	return &h
}

// commitLost follows a commit that another write of the head came before. If
// that was a heartbeat alone, it is tried again.
func (m *Machine) commitLost() {
	if !m.holdsLease() {
		m.abort("the agent was restarted before the commit")
		return
	}
	m.commitStep = commitPin
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
		switch mk, ok := d.Object.(*Marker); {
		case ok && mk.Active.Name == m.p.Self.Name:
			m.committed(p.Epoch + 1)
		case ok:
			m.commitLost()
		default:
			m.commitUnknown()
		}
		m.save(stepSettled) // not before: a commit without a pending write is one that was never sent
		m.judge()
	})
}

// commitUnknown follows a commit of which nobody can tell any more what became of it.
// A process that has sent it has started nothing since; one that was started after it
// may have been put back, and has then what it wrote as the active.
func (m *Machine) commitUnknown() {
	p := m.j.Promotion
	why := "another instance has become the active since; whether this promotion had committed before is not known, for the marker of epoch " +
		utoa(p.Epoch+1) + " is missing or cannot be verified"
	if m.isBegun(p) {
		m.abort("%s", why)
	} else {
		m.wasActive(p.Epoch+1, why)
	}
}

// committed makes this instance the active of epoch. The caller saves.
func (m *Machine) committed(epoch uint64) {
	p := m.j.Promotion
	m.j.Role, m.j.Epoch, m.j.First = RoleActive, epoch, true
	m.j.Demotion, m.j.Handover = nil, nil
	m.j.Doubt, m.j.Unkept, m.j.Missed, m.j.Holder = "", "", 0, nil
	m.accepts()
	m.swapCommitted()
	p.Phase = PhaseFinish
	m.passes(p.Phase.step())
	// An active that handed over has stopped its application already; so has one
	// whose last head says so, which this commit has replaced.
	p.Acked = p.Mode == ModeSwitchover || p.AtRest
	m.waitsSince()
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
	case m.isApp(appRunning) && !p.Started:
		p.Started = true
		m.step("start", "")
		m.save(stepPromotionStarted)
	case m.isApp(appRunning), m.appErr != "":
		m.readLease(m.releaseLease)
		return true
	}
	return false
}

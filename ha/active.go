package ha

import "github.com/understudy-ha/understudy/blobstore"

// renewalDue reports whether the active's heartbeat is due: a new head that
// also proves that this instance is still the active.
func (m *Machine) renewalDue() bool {
	if m.j.Role != RoleActive || !m.leading || m.refused != "" || !m.pollDue() {
		return false
	}
	m.lookAtLeaseNext()
	return true
}

// planActive picks the active's next request: claim the head, say in the head
// what is not said yet, and after each renewal look at the lease.
func (m *Machine) planActive() {
	switch {
	case !m.leading, m.unpublished() != nil, m.newConfig() != nil, m.handoverUnsaid(), m.farewellUnsaid():
		m.writeHead()
	case m.j.Epoch > 1 && m.j.Marked < m.j.Epoch:
		m.writeMarker()
	case m.leaseIsNext():
		m.readLease(m.lookAtLease)
	}
}

// activeHead is the head as the active wants it to be now.
func (m *Machine) activeHead() *Head {
	h := *m.head
	if ref := m.unpublished(); ref != nil {
		h.Newest = ref
	}
	if c := m.newConfig(); c != nil {
		h.Config, h.Fencing = c.Digest, c.Fencing
	}
	if hj := m.j.Handover; hj != nil && hj.Final != nil {
		h.Newest = hj.Final
	}
	h.Handover = m.handoverSaid()
	h.Stopped = m.saysFarewell()
	return &h
}

// headSays names what the active's next head is the first to say.
func (m *Machine) headSays() WriteStep {
	said := m.handoverSaid()
	switch {
	case m.handoverUnsaid() && said == nil:
		return stepHeadReturned
	case m.handoverUnsaid():
		return WriteStep("head." + said.State)
	case m.unpublished() != nil:
		return stepHeadPublish
	case m.newConfig() != nil:
		return stepHeadConfig
	case !m.leading:
		return stepHeadClaim
	}
	return stepHeadRenew
}

// writeMarker writes the marker of this instance's own epoch, from what the
// head says of it.
func (m *Machine) writeMarker() {
	mk := m.marker(m.head)
	mk.Active = m.p.Self
	if p := m.j.Promotion; p != nil && mk.Recovery == nil {
		mk.Old, mk.Mode, mk.By, mk.Reason, mk.HostIsOff, mk.AppIsStopped = p.Old, p.Mode, p.By, p.Reason, p.HostIsOff, p.AppIsStopped
	}
	epoch := m.j.Epoch
	// Nobody else is active in this epoch: one that is there is an earlier attempt.
	m.tell(stepMarker, KindMarker, MarkerKey(epoch), mk, func() {
		m.j.Marked = max(m.j.Marked, epoch)
		m.passes(stepMarked)
		m.step("marker", "")
	})
}

// marker is the marker of the epoch that a head is of, from what it says of it.
func (m *Machine) marker(h *Head) *Marker {
	mk := &Marker{
		Format: Format, Cluster: m.p.Cluster, Epoch: h.Epoch, Nonce: m.random(),
		Active: h.Active, Restored: h.StartedFrom, CutOff: h.CutOff, Time: m.now.Wall,
	}
	if r := h.Recovery; r != nil && r.Epoch == h.Epoch {
		mk.Recovery, mk.By, mk.Reason = r, r.By, r.Reason
	}
	return mk
}

// leaseView is the lease as last read.
type leaseView struct {
	lease *Lease // nil: there is none, or it cannot be verified
	token blobstore.Token
	since instant // when this version was first seen
	bad   string  // why it cannot be used
}

// readLease reads the lease if it has changed, and goes on.
func (m *Machine) readLease(then func()) {
	m.read(KindLease, LeaseKey, m.lease.token, func(d Done) {
		switch d.Outcome {
		case OK:
			if m.lease.token != d.Token {
				m.lease = leaseView{lease: d.Object.(*Lease), token: d.Token, since: m.t}
			}
		case Missing:
			m.lease = leaseView{}
		case Unverified:
			// Someone without the key can put anything here. It counts as no
			// lease, and taking the lock replaces it.
			if m.lease.bad == "" {
				m.report(Alarm, "lease", "lease.json cannot be verified: %s", errText(d.Err))
			}
			m.lease = leaseView{token: d.Token, bad: errText(d.Err), since: m.t}
		case NotModified:
		default:
			return
		}
		then()
	})
}

// seenLease is the lease as last read; nil: there is none that can be verified.
func (m *Machine) seenLease() *Lease { return m.lease.lease }

// leaseFree reports whether the lock can be taken: released, never taken, or
// unchanged for so long that its holder is gone.
func (m *Machine) leaseFree() bool {
	l := m.lease.lease
	return l == nil || l.Released || m.t-m.lease.since >= max(m.silentAfter(), l.TTL.std()+m.fencing().Margin.std())
}

package ha

// The commit is the one moment that decides: a compare-and-swap of the head to
// the next epoch, pinned to what the promotion is based on.

// commitLane is the commit of a promotion, and what follows it.
type commitLane struct {
	*core
	head      *headLane
	writing   *writingLane
	control   *controlLane
	lease     *leaseLane
	identity  *identityLane
	app       *appLane
	restore   *restoreLane
	promotion *promotionLane
	wait      *waitLane

	step commitStep
}

// commitStep is a step of a commit. Each follows the one before.
type commitStep int

const (
	commitLease  commitStep = iota // is the lease held still?
	commitPin                      // is the head as it was pinned?
	commitMarker                   // leave the marker of the epoch that ends
	commitSwap                     // compare and swap the head
)

// afresh has a commit begin with its first step.
func (cl *commitLane) afresh() { cl.step = commitLease }

// plan looks at the lease once more, then at the head, then commits.
func (cl *commitLane) plan() bool {
	switch cl.step {
	case commitLease:
		cl.lease.read(func() {
			p, l := cl.j.Promotion, cl.lease.seen()
			if p == nil || p.Phase != PhaseCommit {
				return
			}
			if !cl.lease.held() || l == nil || l.ID != p.ID || l.Released {
				cl.promotion.abort("the promotion lease was lost before the commit")
				return
			}
			cl.step = commitPin
		})
	case commitPin:
		cl.head.read(func() {
			p := cl.j.Promotion
			if p == nil || p.Phase != PhaseCommit {
				return
			}
			if why := cl.pinBroken(); why != "" {
				cl.promotion.abort("%s", why)
				return
			}
			cl.step = commitMarker
			if cl.head.fresh().Epoch <= max(1, cl.j.Marked) {
				cl.step = commitSwap
			}
		})
	case commitMarker:
		cl.leaveMarker()
	case commitSwap:
		cl.wait.replaces()
		cl.j.Promotion.AtRest, cl.j.Promotion.Fencing = cl.head.fresh().AtRest(), clone(&cl.head.fresh().Fencing)
		cl.writing.write()
	}
	return true
}

// leaveMarker writes the marker of the epoch that the commit ends, unless it is
// there: its active may not have come to it, and nobody else would.
func (cl *commitLane) leaveMarker() {
	h := cl.head.fresh()
	cl.control.tell(stepMarker, KindMarker, MarkerKey(h.Epoch), cl.marker(h), func() {
		cl.j.Marked = max(cl.j.Marked, h.Epoch)
		cl.passes(stepMarked)
		cl.step = commitSwap
	})
}

// pinBroken says what of the pinned head has changed, heartbeats aside.
func (cl *commitLane) pinBroken() string {
	p, h := cl.j.Promotion, cl.head.fresh()
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
	case cl.head.untrueStrict(h.Fencing):
		return RefuseStrict(cl.p.Self.Name)
	case (p.Phase == PhaseSwap || p.Phase == PhaseCommit) && !sameStreams(h.Logs(), p.Streams):
		return "the active " + h.Active.Name + " has opened another stream meanwhile: look again"
	case p.Phase == PhaseCommit && !p.WithoutLog && beyond(h.Logs(), p.Ends) != "":
		return beyond(h.Logs(), p.Ends)
	case p.Phase == PhaseCommit && h.Newest.Digest != p.Newest.Digest:
		return "a newer backup appeared: " + h.Newest.ID + ": look again"
	}
	return ""
}

// nextHead is the head that begins the next epoch.
func (cl *commitLane) nextHead() *Head {
	p := cl.j.Promotion
	h := *cl.head.fresh()
	h.Epoch++
	h.Newest, h.StartedFrom, h.CutOff = p.Backup, p.Backup, nil
	if cl.head.fresh().Newest.ID != p.Backup.ID {
		h.CutOff = cl.head.fresh().Newest
	}
	h.Handed = ""
	if ho := cl.head.fresh().Handover; ho != nil && ho.State == Handed {
		h.Handed = ho.Lease
	}
	h.Handover, h.Stopped = nil, false
	h.Streams, h.Ended = nil, p.closed()
	return &h
}

// lost follows a commit that another write of the head came before. If
// that was a heartbeat alone, it is tried again.
func (cl *commitLane) lost() {
	if !cl.lease.held() {
		cl.promotion.abort("the agent was restarted before the commit")
		return
	}
	cl.step = commitPin
}

// lookBack finds out what became of a commit when a later epoch has begun
// since: the marker of its own epoch says who began that one.
func (cl *commitLane) lookBack() {
	p := cl.j.Promotion
	cl.control.read(KindMarker, MarkerKey(p.Epoch+1), "", func(d Done) {
		if d.Outcome == Unknown {
			return
		}
		cl.j.Pending = nil
		switch mk, ok := d.Object.(*Marker); {
		case ok && mk.Active.Name == cl.p.Self.Name:
			cl.committed(p.Epoch + 1)
		case ok:
			cl.lost()
		default:
			cl.unknown()
		}
		cl.save(stepSettled) // not before: a commit without a pending write is one that was never sent
		cl.identity.judge()
	})
}

// unknown follows a commit of which nobody can tell any more what became of it.
// A process that has sent it has started nothing since; one that was started after it
// may have been put back, and has then what it wrote as the active.
func (cl *commitLane) unknown() {
	p := cl.j.Promotion
	why := "another instance has become the active since; whether this promotion had committed before is not known, for the marker of epoch " +
		utoa(p.Epoch+1) + " is missing or cannot be verified"
	if cl.promotion.isBegun(p) {
		cl.promotion.abort("%s", why)
	} else {
		cl.identity.wasActive(p.Epoch+1, why)
	}
}

// committed makes this instance the active of epoch. The caller saves.
func (cl *commitLane) committed(epoch uint64) {
	p := cl.j.Promotion
	cl.j.Role, cl.j.Epoch, cl.j.First = RoleActive, epoch, true
	cl.j.Demotion, cl.j.Handover = nil, nil
	cl.j.Doubt, cl.j.Unkept, cl.j.Missed, cl.j.Holder = "", "", 0, nil
	cl.identity.accepts()
	cl.restore.committed()
	p.Phase = PhaseFinish
	cl.passes(p.Phase.step())
	// An active that handed over has stopped its application already; so has one
	// whose last head says so, which this commit has replaced.
	p.Acked = p.Mode == ModeSwitchover || p.AtRest
	cl.wait.begins()
	cl.promotion.step("commit", "epoch "+utoa(epoch))
	if p.Old.URL != "" {
		cl.emit(Notify{URL: p.Old.URL})
	}
}

// finish writes the marker, waits for the old active as far as that is
// due, and releases the lease once the application was started.
func (cl *commitLane) finish() bool {
	p := cl.j.Promotion
	switch {
	case !cl.identity.isLeading():
		return false // after a restart: claim the head first
	case cl.j.Marked < cl.j.Epoch:
		cl.writeMarker()
		return true
	case !p.Acked:
		return cl.wait.plan(p)
	case cl.app.is(appRunning) && !p.Started:
		p.Started = true
		cl.promotion.step("start", "")
		cl.save(stepPromotionStarted)
	case cl.app.is(appRunning), cl.app.trouble() != "":
		cl.lease.read(cl.lease.release)
		return true
	}
	return false
}

// writeMarker writes the marker of this instance's own epoch, from what the
// head says of it.
func (cl *commitLane) writeMarker() {
	mk := cl.marker(cl.head.fresh())
	mk.Active = cl.p.Self
	if p := cl.j.Promotion; p != nil && mk.Recovery == nil {
		mk.Old, mk.Mode, mk.By, mk.Reason, mk.HostIsOff, mk.AppIsStopped = p.Old, p.Mode, p.By, p.Reason, p.HostIsOff, p.AppIsStopped
		mk.Moment = p.Moment
	}
	epoch := cl.j.Epoch
	// Nobody else is active in this epoch: one that is there is an earlier attempt.
	cl.control.tell(stepMarker, KindMarker, MarkerKey(epoch), mk, func() {
		cl.j.Marked = max(cl.j.Marked, epoch)
		cl.passes(stepMarked)
		cl.promotion.step("marker", "")
	})
}

// marker is the marker of the epoch that a head is of, from what it says of it.
func (cl *commitLane) marker(h *Head) *Marker {
	mk := &Marker{
		Format: Format, Cluster: cl.p.Cluster, Epoch: h.Epoch, Nonce: cl.random(),
		Active: h.Active, Restored: h.StartedFrom, CutOff: h.CutOff, Time: cl.now.Wall,
	}
	if r := h.Recovery; r != nil && r.Epoch == h.Epoch {
		mk.Recovery, mk.By, mk.Reason = r, r.By, r.Reason
	}
	return mk
}

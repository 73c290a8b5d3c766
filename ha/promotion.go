package ha

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
)

// swapping reports whether a promotion that has not committed may have swapped
// its restored state in.
func (p *Promotion) swapping() bool {
	return p != nil && !p.Undone && p.Phase != PhaseFinish && (p.Swapped || p.Phase == PhaseSwap || p.Phase == PhaseCommit)
}

// hold is the lease as this instance holds it.
type hold struct {
	held    bool
	doubt   bool // a write of it has an unknown outcome, or lost
	token   blobstore.Token
	renewed instant // when the write that made it so was sent
	sent    instant // when the first unresolved one was sent
	cited   uint64  // rev of the head that it cites
	recite  bool    // the active wants a newer one cited
}

// onPromote checks what can be known at once and begins.
func (m *Machine) onPromote(ev Promote) {
	h := m.knownHead()
	mode := ev.Mode
	if mode == "" {
		mode = ModeSwitchover
	}
	d := m.j.Demotion
	switch {
	case m.j.Promotion != nil:
		m.refuse(ev.Request, "a promotion is under way here already (%s, phase %s)", m.j.Promotion.ID, m.j.Promotion.Phase)
	case m.j.Role == RoleActive && m.refused == "":
		m.refuse(ev.Request, "this instance is the active already")
	case d != nil && !d.Acked:
		m.refuse(ev.Request, "this instance is still stepping down from epoch %d: its application has not stopped", d.Epoch)
	case d != nil && !d.Made && !ev.WaiveSalvage:
		m.refuse(ev.Request, "this instance still owes a salvage backup of its state in epoch %d, which a promotion would replace; wait for it, or waive it", d.Epoch)
	case h == nil || m.failing:
		m.refuse(ev.Request, "the bucket cannot be used: %s", m.trouble())
	case h.Newest == nil:
		m.refuse(ev.Request, "the cluster has no backup yet")
	case mode == ModeSwitchover && m.silent():
		m.refuse(ev.Request, "the active %s has shown no sign of life for %v: it cannot hand over; promote without its help: understudy promote --failover", h.Active.Name, (m.t - m.headSince).Round(time.Second))
	case mode == ModeSwitchover && h.Active.Name == m.p.Self.Name:
		m.refuse(ev.Request, "the head names this very instance as the active: understudy promote --failover")
	case ev.HostIsOff && RefuseHostIsOff(mode, m.fencing().Mode) != "":
		m.refuse(ev.Request, "%s", RefuseHostIsOff(mode, m.fencing().Mode))
	case ev.AppIsStopped && RefuseAppIsStopped(m.fencing().Mode) != "":
		m.refuse(ev.Request, "%s", RefuseAppIsStopped(m.fencing().Mode))
	case m.untrueStrict(m.fencing()):
		m.refuse(ev.Request, "%s", RefuseStrict(m.p.Self.Name))
	case mode == ModeFailover && ev.Shown != nil && ev.Shown.Digest != h.Newest.Digest:
		m.refuse(ev.Request, "a newer backup than the one shown has appeared (%s): look again", h.Newest.ID)
	case !ev.AllowFailedRehearsal && m.failedRehearsal(ev.Chosen, h.Newest):
		m.refuse(ev.Request, "%s", RefuseFailed(m.rehearsed.Backup, m.rehearsed.Error))
	default:
		m.beginPromotion(ev, mode)
	}
}

func (m *Machine) beginPromotion(ev Promote, mode Mode) {
	m.j.Promotion = &Promotion{ID: ev.Request, Mode: mode, Chosen: ev.Chosen, AllowFailed: ev.AllowFailedRehearsal, HostIsOff: ev.HostIsOff, AppIsStopped: ev.AppIsStopped, By: ev.By, Reason: ev.Reason, Phase: PhaseLease}
	m.begun, m.j.Pending = ev.Request, nil // none but a doubted data folder has one
	m.save(PhaseLease.step())
	m.dropLease()
	m.commitAfresh()
	m.workNow()
	m.result, m.stepSince = nil, m.t
	m.yield() // a pull resumes later; a rehearsal leaves its stage to the restore
	m.report(Info, "promotion", "%s begins, asked by %s", mode, ev.By)
	if ev.HostIsOff {
		m.report(Warn, "promotion", "%s says that the host of %s is off: its application is not waited for", ev.By, m.knownHead().Active.Name)
	}
	if ev.AppIsStopped {
		m.report(Warn, "promotion", "%s says that the application on %s is stopped", ev.By, m.knownHead().Active.Name)
	}
}

func (m *Machine) onCancel(ev CancelPromotion) {
	p := m.j.Promotion
	switch {
	case p == nil:
		m.refuse(ev.Request, "no promotion is under way here")
	case p.Phase == PhaseFinish, m.j.Pending != nil && m.j.Pending.Commit:
		m.refuse(ev.Request, "it is too late: the promotion has committed, or is about to")
	default:
		by := ev.By
		if by == "" {
			by = "the operator"
		}
		m.abort("cancelled by %s", by)
		m.answer(ev.Request, nil, nil)
	}
}

// isBegun reports whether a promotion is the one that an operator asked this very
// process for.
func (m *Machine) isBegun(p *Promotion) bool { return p.ID == m.begun }

// abort turns a promotion that has not committed into a rollback.
func (m *Machine) abort(format string, args ...any) {
	p := m.j.Promotion
	if p == nil || p.Phase == PhaseRollback || p.Phase == PhaseFinish || m.j.Pending != nil && m.j.Pending.Commit {
		return
	}
	p.Error = fmt.Sprintf(format, args...)
	p.Phase = PhaseRollback
	if p.Swapped {
		m.doubtApp() // somebody may have started it on what is swapped back
	}
	m.save(p.Phase.step())
	m.commitAfresh()
	m.workNow()
	m.yield()
	m.report(Warn, "promotion", "given up: %s", p.Error)
}

// step notes a finished step of the promotion, if one is under way.
func (m *Machine) step(name, note string) {
	p := m.j.Promotion
	if p == nil {
		return
	}
	p.Steps = append(p.Steps, Step{Name: name, Time: m.now.Wall, Took: Duration(m.t - m.stepSince), Note: note})
	m.stepSince = m.t
	if note != "" {
		note = ": " + note
	}
	m.report(Info, "promotion", "%s is done%s", name, note)
}

// planPromotion picks the promotion's next request; false when there is none.
func (m *Machine) planPromotion() bool {
	p := m.j.Promotion
	if p == nil {
		return false
	}
	if p.Phase != PhaseFinish && p.Phase != PhaseRollback && m.keepsLease() {
		return true
	}
	switch p.Phase {
	case PhaseLease:
		m.readLease(m.takeLease)
		return true
	case PhasePin:
		m.readHead(m.pin)
		return true
	case PhaseHandover:
		return m.awaitHandover()
	case PhaseCommit:
		return m.planCommit()
	case PhaseFinish:
		return m.planFinish()
	case PhaseRollback:
		if !p.Undone {
			return false
		}
		m.readLease(m.releaseLease)
		return true
	}
	return false
}

func (m *Machine) leaseTTL() Duration { return m.fencing().TTL }

func (m *Machine) leaseRecord(released bool) *Lease {
	p, h := m.j.Promotion, m.knownHead()
	word := ""
	if p.AppIsStopped {
		word = cmp.Or(p.By, "an operator")
	}
	return &Lease{
		Format: Format, Cluster: m.p.Cluster, ID: p.ID, Nonce: m.random(), Holder: m.p.Self,
		Purpose: p.Mode, TTL: m.leaseTTL(), Epoch: h.Epoch, Rev: h.Rev, Released: released, StoppedOnWordOf: word, Time: m.now.Wall,
	}
}

// takeLease takes the lock if it is free, knowing the lease as just read.
func (m *Machine) takeLease() {
	p, l := m.j.Promotion, m.lease.lease
	if p.Phase != PhaseLease {
		return
	}
	if l != nil && l.ID == p.ID && !l.Released {
		m.holdLease(m.lease.token)
		return
	}
	if !m.leaseFree() {
		m.abort("%s holds the promotion lease (%s, since %s)", l.Holder.Name, l.Purpose, l.Time.UTC().Format(time.RFC3339))
		p.Undone = true // nothing was done
		m.save(stepPromotionUndone)
		return
	}
	cond := blobstore.IfAbsent()
	if m.lease.token != "" {
		cond = blobstore.IfMatch(m.lease.token)
	}
	m.sendLease(stepLeaseTake, cond, func() { m.holdLease(m.hold.token) })
}

// sendLease writes the lease once. If the outcome is not known, or another
// write came first, the next look at the lease decides.
func (m *Machine) sendLease(step WriteStep, cond blobstore.Condition, then func()) {
	if !m.hold.doubt {
		m.hold.sent = m.t
	}
	rec := m.leaseRecord(false)
	m.hold.doubt = true
	m.write(step, KindLease, LeaseKey, rec, cond, func(d Done) {
		if d.Outcome != OK {
			return
		}
		m.lease = leaseView{lease: rec, token: d.Token, since: m.t}
		m.hold.token, m.hold.cited, m.hold.recite = d.Token, rec.Rev, false
		then()
	})
}

func (m *Machine) holdLease(token blobstore.Token) {
	m.hold.held, m.hold.doubt, m.hold.token, m.hold.renewed = true, false, token, m.hold.sent
	if p := m.j.Promotion; p != nil && p.Phase == PhaseLease {
		p.Phase = PhasePin
		m.step("lease", "")
		m.save(p.Phase.step())
	}
}

// holdsLease reports whether this instance holds the lease, as far as it knows.
func (m *Machine) holdsLease() bool { return m.hold.held }

// dropLease forgets the lease that this instance held.
func (m *Machine) dropLease() { m.hold = hold{} }

// cites has the lease cite a newer head, where the active does not answer one that
// cites an older one: one that has just ended a handover obeys none such.
func (m *Machine) cites(h *Head) {
	if h.Rev > m.hold.cited {
		m.hold.recite = true
	}
}

// keepsLease renews a lease that is held, when that is due. It gives the promotion up
// when that comes too late.
func (m *Machine) keepsLease() bool {
	switch {
	case !m.hold.held:
	case m.t-m.hold.renewed >= (m.leaseTTL() - m.fencing().Margin).std():
		m.abort("the promotion lease could not be renewed in time")
	case m.hold.doubt || m.hold.recite || m.due(m.hold.renewed+m.leaseTTL().std()/3):
		m.keepLease()
		return true
	}
	return false
}

// keepLease renews the lease, or finds out whether it is still held.
func (m *Machine) keepLease() {
	if !m.hold.doubt {
		m.sendLease(stepLeaseRenew, blobstore.IfMatch(m.hold.token), func() { m.holdLease(m.hold.token) })
		return
	}
	m.readLease(func() {
		p, l := m.j.Promotion, m.lease.lease
		switch {
		case p == nil:
		case l == nil || l.ID != p.ID || l.Released:
			m.hold.held = false
			m.abort("the promotion lease was lost")
		case m.lease.token == m.hold.token:
			m.sendLease(stepLeaseRenew, blobstore.IfMatch(m.hold.token), func() { m.holdLease(m.hold.token) })
		default:
			m.holdLease(m.lease.token)
		}
	})
}

// releaseLease writes an expired lease, if it is still this promotion's, and
// ends the promotion.
func (m *Machine) releaseLease() {
	p, l := m.j.Promotion, m.lease.lease
	if p == nil {
		return
	}
	if l == nil || l.ID != p.ID || l.Released {
		m.endPromotion()
		return
	}
	m.write(stepLeaseRelease, KindLease, LeaseKey, m.leaseRecord(true), blobstore.IfMatch(m.lease.token), func(d Done) {
		if d.Outcome == OK {
			m.endPromotion()
		}
	})
}

func (m *Machine) endPromotion() {
	p := m.j.Promotion
	promoted := p.Phase == PhaseFinish
	m.result = &Result{ID: p.ID, Promoted: promoted, Error: p.Error, Steps: p.Steps, Downtime: p.Downtime, Time: m.now.Wall, Epoch: m.j.Epoch}
	if p.Backup != nil {
		m.result.Backup = p.Backup.ID
	}
	old := m.knownHead()
	m.j.Promotion = nil
	m.dropLease()
	m.rehearsalSpent(promoted)
	m.save(stepPromotionEnded)
	if promoted {
		m.reportBy(p.By, Info, "promotion", "this instance is the active, in epoch %d, from backup %s", m.j.Epoch, p.Backup.ID)
		m.answer(p.ID, p.Backup, nil)
		return
	}
	if p.Mode == ModeSwitchover && old != nil {
		m.emit(Notify{URL: old.Active.URL}) // so that it takes itself back at once
	}
	m.reportBy(p.By, Warn, "promotion", "rolled back, everything is as before: %s", p.Error)
	m.refuse(p.ID, "not promoted, and everything is as before: %s", p.Error)
}

// pin fixes what the promotion is based on, by a head read under the lease.
func (m *Machine) pin() {
	p, h := m.j.Promotion, m.head
	if p.Phase != PhasePin {
		return
	}
	p.Epoch, p.Rev, p.Newest, p.Old = h.Epoch, h.Rev, h.Newest, h.Active
	m.downSince, m.unhanded = never, m.stepSince
	p.OldAlive = m.alive && !m.silent()
	if p.Mode == ModeSwitchover {
		p.Phase = PhaseHandover
		m.save(p.Phase.step())
		m.emit(Notify{URL: h.Active.URL})
		return
	}
	m.restoreFrom(h.Newest)
}

// restoreFrom goes on to restore the chosen backup, or newest.
func (m *Machine) restoreFrom(newest *backup.Ref) {
	p := m.j.Promotion
	p.Newest, p.Backup = newest, p.Chosen
	if p.Backup == nil {
		p.Backup = newest
	}
	p.Phase = PhaseRestore
	m.save(p.Phase.step())
}

// awaitHandover looks at the head until the active has handed over.
func (m *Machine) awaitHandover() bool {
	if !m.pollDueEvery(handoverPoll) {
		return false
	}
	m.pollAt(m.t + m.p.Poll)
	sent := m.t
	m.readHead(func() {
		p, h := m.j.Promotion, m.head
		if p == nil || p.Phase != PhaseHandover {
			return
		}
		ho := h.Handover
		mine := ho != nil && ho.Lease == p.ID
		switch {
		case h.Epoch != p.Epoch:
			m.abort("%s became the active in epoch %d meanwhile", h.Active.Name, h.Epoch)
		case mine && ho.State == Handed:
			m.downSince = m.stepSince // when it was asked: not before
			if ho.StoppedFor > 0 {
				m.downSince = max(m.downSince, m.unhanded-instant(ho.StoppedFor))
			}
			note := "final backup " + h.Newest.ID
			if ho.Unstopped {
				note += "; nothing on " + h.Active.Name + " can stop the application, which is stopped on the word of " + ho.OnWordOf
			}
			m.step("handover", note)
			m.restoreFrom(h.Newest)
		case mine && ho.State == Declined:
			m.abort("the active %s declined: %s", h.Active.Name, ho.Reason)
		case m.silent():
			m.abort("the active %s fell silent before it had handed over; promote without its help: understudy promote --failover", h.Active.Name)
		case !mine && m.t-m.stepSince > m.patience():
			m.abort("the active %s did not answer within %v; promote without its help: understudy promote --failover", h.Active.Name, m.patience())
		case !mine:
			m.cites(h)
		}
		m.unhanded = sent
	})
	return true
}

// patience is how long an active may take to answer a lease that asks it to hand
// over.
func (m *Machine) patience() time.Duration { return 3*m.p.Poll + retryFirst }

// measureDowntime notes for how long a switchover has kept the application
// stopped, once it runs here. No clocks are compared: the old active says how
// long it had been stopped when it handed over, and this instance counts from
// its last look before it saw that, or from when it asked where the old active
// does not say. So it may be less than what is noted, and more only by what one
// request to the store takes.
func (m *Machine) measureDowntime() {
	p := m.j.Promotion
	if p == nil || p.Phase != PhaseFinish || !m.isApp(appRunning) || m.downSince == never {
		return
	}
	p.Downtime = Duration(m.t - m.downSince)
	m.downSince = never
	m.save(stepSeen)
}

// trouble says why the bucket cannot be used.
func (m *Machine) trouble() string {
	if m.headErr != "" {
		return m.headErr
	}
	return m.failure
}

// failureText says in a few words why a request to the store failed.
func failureText(err error) string {
	store, stale := (*blobstore.Error)(nil), (*staleError)(nil)
	switch {
	case errors.As(err, &stale):
		return stale.Error()
	case !errors.As(err, &store), blobstore.Transient(err), errors.Is(err, blobstore.ErrUnknownOutcome), errors.Is(err, context.DeadlineExceeded):
		return "it does not answer"
	case store.Err != nil:
		return fmt.Sprintf("%v: %v", store.Kind, store.Err)
	}
	return store.Kind.Error()
}

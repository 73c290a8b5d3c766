package sim

import (
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// On some hosts nothing can stop the application but people. Its instance steps down
// and hands over all the same, and says nowhere that it has stopped.

// unstoppable reports whether there is such a host. Then the fencing cannot be strict:
// the agent looks at the other instances' records, the core knows of its own.
func (w *World) unstoppable() bool {
	return slices.ContainsFunc(w.hosts, func(h *Host) bool { return h.unstoppable })
}

// leaveToPeople makes a host on which nothing but people can stop the application.
func (h *Host) leaveToPeople() {
	h.unstoppable = true
	h.w.after(time.Minute, h.tend)
}

// stopApp is a demote hook, or that there is none. From when its instance has stepped
// down nobody was promised anything of what such an application writes.
func (p *Process) stopApp(id uint64) ha.Done {
	h := p.h
	h.demoted = h.w.now
	if !h.unstoppable {
		h.app, h.foreign = false, false
		h.w.trace("%s: the application has stopped", h.id)
		return ha.Done{ID: id}
	}
	if s := p.m.Status(); h.app && (s.Handover == nil || s.Refused != "") { // a refused one hands nothing over
		h.w.trace("%s: nothing can stop the application", h.id)
		h.app, h.foreign = false, true
		h.forget()
	}
	return ha.Done{ID: id, Unstopped: true}
}

// forget has no promotion held to what the host had when it was asked for: somebody
// writes to it.
func (h *Host) forget() {
	for _, a := range h.w.check.promotions {
		if a.host == h {
			a.before = nil
		}
	}
}

// tend is what people do every now and then on a host where nothing else can stop the
// application: they stop it where it should not run, and start it again where they
// had stopped it for a promotion that did not come.
func (h *Host) tend() {
	w := h.w
	j, p := &h.disk.journal, h.proc
	switch {
	case h.asleep || h.off:
	case h.foreign:
		w.trace("%s: people stop the application", h.id)
		h.foreign = false
	case !h.app && p != nil && h.ran[w.head.Active.Incarnation] && j.Handover == nil && j.Promotion == nil && p.m.Status().App == "running":
		w.trace("%s: people start the application again", h.id)
		h.app = true
	}
	w.after(w.between(20*time.Second, 2*time.Minute), h.tend)
}

// word has an operator give their word, now and then, that the application of the
// active is stopped. Mostly they have stopped it.
func (op *operator) word(p *ha.Promote) {
	i := slices.IndexFunc(op.w.hosts, func(h *Host) bool { return h.unstoppable && h.ran[op.w.head.Active.Incarnation] })
	if i < 0 || !op.w.chance(0.6) {
		return
	}
	p.AppIsStopped = true
	if h := op.w.hosts[i]; !op.w.faults.Rash || op.w.chance(0.5) {
		op.w.trace("%s: an operator stops the application by hand", h.id)
		h.app = false
	}
}

// checkSaidStopped checks that nothing that is about to be signed says of an
// application that it has stopped which has not.
func (p *Process) checkSaidStopped(e ha.Write) {
	h := p.h
	switch o := e.Object.(type) {
	case *ha.Ack:
		if runs := h.app || h.unstoppable && h.foreign; runs && !o.Unstopped {
			h.w.check.fail(Acknowledgement, "%s acknowledges that its application has stopped, and it runs", h.id)
		}
	case *ha.Head:
		if h.app && o.AtRest() && o.Active.Incarnation == p.incarnation {
			h.w.check.fail(Handover, "the head is to say that the application of %s has stopped, and it runs", h.id)
		}
	}
}

// word checks that an application is handed over unseen on somebody's word only.
func (c *checker) word(h *ha.Head) {
	ho := h.Handover
	if a := c.promotions[ho.Lease]; ho.Unstopped && (a == nil || !a.word) {
		c.fail(Handover, "%s handed over what nothing there can stop, and nobody has given their word that it is stopped", h.Active.Name)
	}
}

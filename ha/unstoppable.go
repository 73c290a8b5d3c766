package ha

import "strings"

// An instance that has neither a demote hook nor runs the application itself cannot
// stop it. It backs up, and it steps down; but that its application has stopped it
// says nowhere, for nobody has looked: its acknowledgement and its handover say so,
// and it says no farewell. It hands over on somebody's word that the application is
// stopped, and on nothing else. The fencing cannot be strict while there is one.

// RefuseSwitchover says why an instance does not hand over.
func RefuseSwitchover(active string) string {
	return "nothing on " + active + " can stop the application (neither a demote hook nor understudy exec): stop it there by hand, and say so with --application-is-stopped; or configure hooks.demote there"
}

// RefuseAppIsStopped says why the word that the old active's application is stopped
// is not taken; "" when it is.
func RefuseAppIsStopped(fencing FencingMode) string {
	if fencing == Strict {
		return "the fencing is strict: every instance stops its application itself, and nothing is started on anybody's word that it has; leave --application-is-stopped out"
	}
	return ""
}

// RefuseStrict says why the fencing cannot be strict with these instances, or these
// instances not be in a cluster whose fencing is.
func RefuseStrict(instances ...string) string {
	return "strict fencing needs something on every host that stops the application, and on " + strings.Join(instances, ", ") +
		" there is nothing: configure hooks.demote there, or run the application with understudy exec; or leave the fencing at available"
}

// heard takes in the old active's acknowledgement. One of an application that
// nothing there can stop proves that its agent starts it no more, and not that it
// has stopped: that is an operator's word, or the wait goes on.
func (wl *waitLane) heard(p *Promotion, ack *Ack) {
	switch {
	case !ack.Unstopped:
		wl.acked("acknowledged by " + p.Old.Name)
	case p.AppIsStopped && wl.head.fencing().Mode != Strict:
		wl.acked("acknowledged by " + p.Old.Name + ", where nothing can stop the application; it is stopped, says " + p.By)
	case !p.OldUnstopped:
		p.OldUnstopped = true
		wl.save(stepSeen)
		wl.report(Alarm, "promotion", "%s has stepped down, and nothing there can stop its application: if it still runs, stop it by hand; it is started here in any case once the wait is over", p.Old.Name)
	}
}

// unacked ends the wait for the old active.
func (wl *waitLane) unacked(p *Promotion) {
	if !p.OldUnstopped {
		wl.acked("no acknowledgement")
		return
	}
	wl.acked("nothing on " + p.Old.Name + " can stop its application: it may run beside this one")
}

package sim

import (
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// An agent uses the bucket only once it has taken its instance's name, which is
// a record in the bucket with the incarnation of the process that has it. That
// is package agent's part, not the core's: here it is what copies of a host
// would meet.

const (
	admitEvery    = 5 * time.Second
	registerEvery = 20 * time.Second
)

// admission is how an attempt to take a name ended.
type admission int

const (
	notReached admission = iota
	nameTaken
	refusedName
)

// owns reports whether the record of the process's name is its data folder's.
func (p *Process) owns() bool {
	holder := p.h.w.names[p.h.disk.name]
	return holder == "" || holder == p.incarnation || slices.Contains(p.known, holder)
}

// admit takes the name. A copy of an active's data folder, which does not know
// the head, leaves the record alone.
func (p *Process) admit() admission {
	w := p.h.w
	if p.h.cut != cutNot || w.fails(w.faults.Request) {
		return notReached
	}
	if !p.owns() {
		return refusedName
	}
	if j := &p.begun; j.Role == ha.RoleActive && w.head.Epoch <= j.Epoch && !j.Knows(w.head) && !w.head.IsOlder(j.Seen) {
		p.mute = true
	} else {
		w.names[p.h.disk.name] = p.incarnation
	}
	p.admitted = true
	return nameTaken
}

// registered tells the machine that the record is its process's.
func (p *Process) registered() {
	if p.alive() && p.admitted && !p.mute {
		p.deliver(ha.Registered{})
	}
}

func (p *Process) tryAgain() {
	if !p.alive() {
		return
	}
	if !p.h.frozen() {
		switch p.admit() {
		case refusedName:
			p.h.lock()
			return
		case nameTaken:
			p.h.unwell(p.h.w.now)
			p.registered()
			return
		}
	}
	p.h.after(admitEvery, p.tryAgain)
}

// register keeps the record current. A standby whose name is another's ends.
func (p *Process) register() {
	if !p.alive() {
		return
	}
	s := p.m.Status()
	switch {
	case !p.admitted || p.h.frozen() || p.h.cut != cutNot:
	case p.mute && !s.Leading:
	case p.owns():
		p.mute, p.h.w.names[p.h.disk.name] = false, p.incarnation
	case s.Role == ha.RoleStandby:
		p.h.lock()
		return
	default:
		return // the head decides who is active
	}
	p.h.after(registerEvery, p.register)
}

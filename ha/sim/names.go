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

// admit takes the name, as package agent does. Whoever cannot be the true one, or
// has another's name and may have what no backup has, leaves the record alone.
func (p *Process) admit() admission {
	w := p.h.w
	if p.h.cut != cutNot || w.fails(w.faults.Request) {
		return notReached
	}
	j, name, head := &p.begun, p.h.disk.name, p.h.shownHead()
	if head == nil { // nobody knows what this instance owes
		p.admitted, p.mute = true, !p.owns()
		if !p.mute {
			w.names[name] = p.incarnation
		}
		return nameTaken
	}
	named, knows := head.Active.Name == name, j.Doubt == "" && j.Knows(head)
	missed := j.Seen.Epoch > 0 && head.Epoch > j.Seen.Epoch+1
	switch {
	case j.Doubt != "", named && j.Role == ha.RoleActive && !knows && !head.IsOlder(j.Seen):
		p.mute = true
	case named && knows, p.owns():
		w.names[name] = p.incarnation
	case named, missed, j.Role == ha.RoleActive, j.Demotion != nil, j.Promotion != nil:
		p.mute = true
	default:
		return refusedName
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
	owes := s.Owes || s.Head == nil
	switch {
	case !p.admitted || p.h.frozen() || p.h.cut != cutNot:
	case p.mute && owes && !s.Leading:
	case s.Leading, p.owns():
		p.mute, p.h.w.names[p.h.disk.name] = false, p.incarnation
	case owes:
		p.mute = true
	default:
		p.h.lock()
		return
	}
	p.h.after(registerEvery, p.register)
}

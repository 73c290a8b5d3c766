package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// errFault is what the simulated world says when it says nothing useful.
var errFault = errors.New("simulated fault")

// object is one version of a control object.
type object struct {
	value any // *ha.Head, *ha.Lease, …
	token blobstore.Token
}

// store is the bucket's control objects.
type store struct {
	w       *World
	objects map[string]object
	nonces  map[blobstore.Token]string // which version a token stands for
	past    map[string][]version       // earlier versions, where some host may see them
	replica bool                       // a copy of the bucket
}

// swap is a conditional write as the store carries it out.
func (s *store) swap(e ha.Write) (blobstore.Token, bool) {
	o, ok := s.objects[e.Key]
	if e.Cond.Absent() && ok || e.Cond.Match() != "" && (!ok || o.token != e.Cond.Match()) {
		return "", false
	}
	return s.put(e.Key, e.Object), true
}

func (s *store) put(key string, value any) blobstore.Token {
	token := blobstore.Token(fmt.Sprint("t", len(s.nonces)+1))
	s.objects[key] = object{value: value, token: token}
	s.keepVersion(key, s.objects[key])
	s.nonces[token] = nonceOf(value)
	if s.replica {
		s.w.check.replicaWritten(value)
	} else {
		s.w.check.written(key, value)
	}
	return token
}

// get is what a host sees of an object, and whether that is its newest version.
func (s *store) get(h *Host, e ha.Read) (d ha.Done, newest bool) {
	o, ok := s.shown(h, e.Key)
	newest = o.token == s.objects[e.Key].token
	switch {
	case !ok:
		return ha.Done{ID: e.ID, Outcome: ha.Missing}, newest
	case o.token == e.IfChanged:
		return ha.Done{ID: e.ID, Outcome: ha.NotModified, Token: o.token}, newest
	}
	return ha.Done{ID: e.ID, Object: copied(o.value), Token: o.token}, newest
}

// copied is a control object that nobody else has. What lies behind its
// pointers is never changed by the core.
func copied(value any) any {
	switch v := value.(type) {
	case *ha.Head:
		c := *v
		return &c
	case *ha.Lease:
		c := *v
		return &c
	case *ha.Marker:
		c := *v
		return &c
	case *ha.Ack:
		c := *v
		return &c
	case *ha.SalvageRecord:
		c := *v
		return &c
	}
	panic(fmt.Sprintf("copy %T: not a control object of the protocol", value))
}

func nonceOf(value any) string {
	switch v := value.(type) {
	case *ha.Head:
		return v.Nonce
	case *ha.Lease:
		return v.Nonce
	}
	return ""
}

// requestTimeout is how long an agent waits for an answer.
const requestTimeout = 10 * time.Second

// fate is what becomes of one request.
type fate struct {
	lands   time.Duration // when the store carries it out, from now; negative: never
	answers time.Duration // when its client hears
	known   bool          // the client hears the truth
	beaten  bool          // the client hears that it lost, because it was sent twice on the way
	damaged bool          // what is read cannot be verified
	refused bool          // the client hears that a write has not reached the store
}

// lateBy is how long after it was sent a request can still land.
const lateBy = 2 * time.Minute

// fate draws what becomes of a request of h.
func (w *World) fate(h *Host, write bool) fate {
	out, back := w.between(2*time.Millisecond, 80*time.Millisecond), w.between(2*time.Millisecond, 80*time.Millisecond)
	giveUp := h.clock.lasts(requestTimeout)
	if w.chance(0.3) {
		giveUp = out + back // a reset
	}
	switch {
	case h.cut == cutBoth:
		return fate{lands: -1, answers: giveUp, refused: giveUp == out+back} // nobody listens; a reset otherwise
	case h.cut == cutAnswers:
		return fate{lands: out, answers: giveUp}
	case !w.fails(w.faults.Request):
		return fate{lands: out, answers: out + back, known: true}
	}
	switch w.rng.IntN(6) {
	case 0: // 409, 503: nothing happened
		return fate{lands: -1, answers: out + back}
	case 1: // 500, 503: and yet it happened
		return fate{lands: out, answers: out + back}
	case 2: // the answer is lost
		return fate{lands: out, answers: giveUp}
	case 3: // slow
		lands := w.between(out, requestTimeout/2)
		return fate{lands: lands, answers: lands + back, known: true}
	case 4: // 412 to oneself; garbage
		return fate{lands: out, answers: out + back, known: !write, beaten: write, damaged: !write}
	default: // lands long after the client gave up
		return fate{lands: giveUp + w.between(0, lateBy-requestTimeout), answers: giveUp}
	}
}

// read and write are a process's requests.
func (p *Process) read(e ha.Read, done func(ha.Done)) {
	f := p.send(false)
	d := ha.Done{ID: e.ID, Outcome: ha.Unknown, Err: errFault}
	store, l, newest := p.h.sees(), p.h.w.history, true
	p.h.w.after(max(0, f.lands), func() {
		if f.known {
			d, newest = store.get(p.h, e)
		}
		if f.damaged && e.Key == ha.HeadKey {
			d = ha.Done{ID: e.ID, Outcome: ha.Unverified, Err: errFault}
		}
	})
	p.h.w.after(f.answers, func() {
		l.older = !newest
		done(d)
		l.older = false
	})
}

func (p *Process) write(e ha.Write, done func(ha.Done)) {
	w, f := p.h.w, p.send(true)
	e.Object = copied(e.Object) // as it is when it is sent
	d := ha.Done{ID: e.ID, Outcome: ha.Unknown, Err: errFault}
	if f.refused {
		d.Outcome = ha.Failed
	}
	if f.lands >= 0 && w.streams != nil && w.streams.slows(e.Object) {
		f = fate{lands: requestTimeout + w.between(0, lateBy-requestTimeout), answers: p.h.clock.lasts(requestTimeout)}
		p.h.unwell(w.now + f.answers)
	}
	if store := p.h.sees(); f.lands >= 0 {
		w.after(f.lands, func() {
			token, ok := store.swap(e)
			switch {
			case f.beaten:
				w.history.beaten[nonceOf(e.Object)] = true
				d = ha.Done{ID: e.ID, Outcome: ha.Lost}
			case f.known && !ok:
				d = ha.Done{ID: e.ID, Outcome: ha.Lost}
			case f.known:
				d = ha.Done{ID: e.ID, Token: token}
			}
		})
	}
	w.after(f.answers, func() { done(d) })
}

// send draws the fate of a request, and notes when this host cannot be held to
// what it promises while the store answers.
func (p *Process) send(write bool) fate {
	if !p.admitted {
		return fate{lands: -1, answers: time.Millisecond}
	}
	f := p.h.w.fate(p.h, write)
	if !f.known || f.damaged || f.answers > time.Second {
		p.h.unwell(p.h.w.now + f.answers)
	}
	return f
}

package sim

import (
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// A host may see older versions of the control objects than the store has: a cache,
// or a replica, answers its reads, while writes reach the store itself. That is not
// what a store promises. What is promised all the same holds, but for the history of
// what is read, and for how soon a host knows.

// proxy is what answers a host's reads with what the store had earlier.
type proxy struct {
	since  time.Duration
	behind time.Duration // how old what it shows may be
	frozen bool          // it shows one moment; otherwise each read shows another
}

// version is what a key had from a time on.
type version struct {
	at time.Duration
	object
}

// mostVersions bounds how many versions of a key can be shown again.
const mostVersions = 64

// keepVersion notes that a key has another version now; the zero object stands for none.
func (s *store) keepVersion(key string, o object) {
	if s.replica || s.w.faults.Trouble.Stale == 0 {
		return
	}
	all := s.past[key]
	if len(all) == mostVersions {
		all = append(all[:0], all[1:]...)
	}
	s.past[key] = append(all, version{s.w.now, o})
}

// shown is the version of an object that a host sees, if it sees one.
func (s *store) shown(h *Host, key string) (object, bool) {
	p := h.proxy
	if p == nil || s.replica {
		o, ok := s.objects[key]
		return o, ok
	}
	at := p.since - p.behind
	if !p.frozen {
		at = s.w.now - s.w.between(0, p.behind)
	}
	all := s.past[key]
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].at <= at || i == 0 && len(all) == mostVersions {
			return all[i].object, all[i].value != nil
		}
	}
	return object{}, false
}

// shownHead is the head that a host sees; nil: none.
func (h *Host) shownHead() *ha.Head {
	if o, ok := h.sees().shown(h, ha.HeadKey); ok {
		return o.value.(*ha.Head)
	}
	return nil
}

// fallBehind has a cache answer a host's reads for a while.
func (m *mishaps) fallBehind(h *Host) {
	if h.proxy != nil {
		return
	}
	w := m.w
	h.proxy = &proxy{since: w.now, behind: w.between(time.Second, time.Minute), frozen: w.chance(0.5)}
	w.trace("%s: sees older versions: %v behind, frozen %v", h.id, h.proxy.behind, h.proxy.frozen)
	h.stale = true
	w.after(w.mishaps.pause(), func() { m.catchUp(h) })
}

func (m *mishaps) catchUp(h *Host) {
	if h.proxy == nil {
		return
	}
	m.w.trace("%s: sees the newest versions again", h.id)
	h.proxy = nil
	h.unwell(m.w.now + requestTimeout + poll) // it may wait as long before it looks again
}

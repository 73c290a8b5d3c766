package sim

import (
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// fence is what is known of a host that may run its application too long.
type fence struct {
	deposed bool          // the application runs though the head is another's
	since   time.Duration // since when
	twin    bool          // by a copy of this very host
	under   ha.Fencing    // what the last head said that was this host's
	onWord  bool          // the application was started without the bucket, by an operator
	relaxed bool          // since it was deposed, the fencing was not strict for a while

	well       time.Duration // since when the agent runs, and the store answers it
	resumed    time.Duration // when the agent last went on after it stood still, or was down
	stopFailed time.Duration // when a demote hook last failed, which no promise covers
}

// unwell puts the time off from which a host is held to the bound that
// supposes an agent that runs, and a store that answers.
func (h *Host) unwell(until time.Duration) { h.fence.well = max(h.fence.well, until) }

// wakeEvery is the longest that an agent waits before it looks at its clocks.
const wakeEvery = time.Second

// slack is for what the bounds leave out: a few requests.
const slack = 3 * time.Second

// availableBound is how long an application runs on after another instance
// leads the head, in a host that reaches the store: until the next poll, and
// then until it has stopped. While a host is cut off, its agent down or
// standing still there is no bound.
func availableBound(f ha.Fencing) time.Duration {
	return poll + time.Duration(f.StopTimeout) + slack
}

// strictBound is how long an application runs on after another instance leads
// the head, whether its host reaches the store or not, unless its agent stands
// still: the TTL minus the margin, counted from the last renewal, which was
// before the head changed hands. It also bounds two applications at once where
// a host was copied and its copy went on in its name.
func strictBound(f ha.Fencing) time.Duration {
	return time.Duration(f.TTL - f.Margin)
}

// resumeBound is how long an application runs on, under strict fencing, after
// its agent stood still past its time, or was down: until the agent looks at the
// clock, and then until it has stopped.
func resumeBound(f ha.Fencing) time.Duration {
	return wakeEvery + time.Duration(f.StopTimeout)
}

// failedBound is how long after a failed demote hook no other bound holds: the
// next attempt is put off by up to half a minute.
func failedBound(f ha.Fencing) time.Duration {
	return 30*time.Second + time.Duration(f.StopTimeout) + slack
}

// fences checks every running application against what its fencing mode
// promises.
func (c *checker) fences() {
	var alone *Host // the one that runs without an excuse
	for _, h := range c.w.hosts {
		leads := h.ran[c.w.head.Active.Incarnation]
		// A bucket that was put back changes nobody's fencing, nor does a recovery of which
		// the heir does not know yet.
		if r := c.w.head.Recovery; leads && !c.w.head.IsOlder(h.disk.journal.Seen) && (r == nil || r.Nonce != c.w.head.Nonce) && h.knowsFencing(c.w.head) {
			h.lead(c.w.head)
		}
		if !h.app {
			h.fence.deposed, h.fence.onWord = false, false
			continue
		}
		c.handedOver(h)
		switch {
		case leads:
			h.fence.deposed = false
		case !h.fence.deposed:
			h.fence.deposed, h.fence.since = true, c.w.now
			h.fence.twin = c.w.head.Active.Name == h.disk.name
		}
		if h.fence.deposed {
			h.fence.relaxed = h.fence.relaxed || c.w.head.Fencing.Mode != ha.Strict
			c.deposed(h)
		}
		if h.fence.under.Mode != ha.Strict || h.fence.relaxed || !h.executing() || h.excused() {
			continue
		}
		if alone != nil {
			c.fail(Fencing, "two applications run at once under strict fencing: on %s and on %s", alone.id, h.id)
		}
		alone = h
	}
}

// knowsFencing reports whether a host has said what its head says of fencing, as far
// as its data folder tells: one that was put back may be of before that.
func (h *Host) knowsFencing(head *ha.Head) bool {
	return h.disks == 0 || slices.Contains(h.disk.journal.Fencing, head.Fencing)
}

// lead has a host go by what its head says. An heir whose application ran on beside a
// bucket that was put back stops it first: until then it is held to what it knew.
func (h *Host) lead(head *ha.Head) {
	f := &h.fence
	f.relaxed = head.Recovery != nil && h.app && (f.relaxed || f.under.Mode != ha.Strict)
	f.under = head.Fencing
}

func (c *checker) deposed(h *Host) {
	f := h.fence.under
	since, bound := h.fence.since, availableBound(f)
	if f.Mode == ha.Strict {
		bound = strictBound(f)
		if h.fence.resumed > since {
			bound = max(bound-(h.fence.resumed-since), resumeBound(f))
			since = h.fence.resumed
		}
	} else {
		if h.older() || h.proxy != nil || c.w.lostHead != nil {
			h.unwell(c.w.now) // it keeps its application running, as it does without a bucket
		}
		since = max(since, h.fence.well)
		if h.unstoppable || h.cut != cutNot || h.writes != diskWell || h.proc == nil || !h.proc.admitted {
			return
		}
	}
	if h.idle() || h.overridden() || c.w.now < h.fence.stopFailed+h.clock.lasts(failedBound(f)) {
		return
	}
	if c.w.now > since+h.clock.lasts(bound) {
		c.fail(Fencing, "the application of %s still runs %v after %s became the leader (bound %v)",
			h.id, c.w.now-h.fence.since, c.w.head.Active.Incarnation, bound)
	}
}

// idle reports whether no agent looks after the application: it stands still, or
// there is none.
func (h *Host) idle() bool { return h.frozen() || h.proc == nil }

// excused reports whether strict fencing lets a host's application run beside
// another one: its agent stands still or is down, or just was, a copy of it leads,
// an operator has overridden, a demote hook has failed.
func (h *Host) excused() bool {
	f, w := &h.fence, h.w
	return h.idle() || h.overridden() || w.lastPutBack > 0 && w.now <= h.putBackGrace() ||
		f.resumed > 0 && w.now <= f.resumed+h.clock.lasts(resumeBound(f.under)) ||
		f.stopFailed > 0 && w.now <= f.stopFailed+h.clock.lasts(failedBound(f.under)) ||
		f.deposed && f.twin
}

// overridden reports whether an operator has started the application without
// the bucket.
func (h *Host) overridden() bool { return h.proc != nil && h.override == h.proc }

// handedOver checks that an application is stopped from the moment that
// the head says it is until the head says something else. An agent that was
// started again after its farewell may have an operator's word to start it without
// the bucket; a host that was put back to a snapshot knows nothing of either, and
// there an operator's word counts too. It counts for as long as that application runs.
func (c *checker) handedOver(h *Host) {
	if c.w.again || (h.overridden() || h.fence.onWord) && (h.disks > 0 || c.w.head.Stopped) {
		return
	}
	if c.w.head.AtRest() && h.ran[c.w.head.Active.Incarnation] {
		c.fail(Handover, "the application of %s runs though the head says that nothing does (stopped %v, handover %v)", h.id, c.w.head.Stopped, c.w.head.Handover)
	}
}

package ha

import "time"

// pollLane is when the bucket is looked at: the head first, then the lease.
type pollLane struct {
	*core

	next  instant
	last  instant // when the last look began
	lease bool    // the lease is to be looked at after the head
}

// isDue reports whether the bucket is to be looked at.
func (pl *pollLane) isDue() bool { return pl.due(pl.next) }

// isDueEvery is isDue for one who looks at the head more often.
func (pl *pollLane) isDueEvery(d time.Duration) bool { return pl.due(min(pl.next, pl.last+d)) }

// setNext has the bucket looked at then.
func (pl *pollLane) setNext(t instant) { pl.next = t }

// looked notes that the bucket is being looked at.
func (pl *pollLane) looked() { pl.last = pl.t }

// notified has the bucket looked at soon.
func (pl *pollLane) notified() { pl.next = min(pl.next, max(pl.t, pl.last+notifiedEvery)) }

// lookAtLeaseNext has the lease looked at after the head.
func (pl *pollLane) lookAtLeaseNext() { pl.lease = true }

// leaseIsNext reports, once, whether the lease is to be looked at.
func (pl *pollLane) leaseIsNext() bool {
	next := pl.lease
	pl.lease = false
	return next
}

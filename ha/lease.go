package ha

import (
	"cmp"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// leaseLane is the promotion lock, as it was last read and as this instance holds it.
type leaseLane struct {
	*core
	head      *headLane
	control   *controlLane
	promotion *promotionLane
	pull      *pullLane

	view leaseView
	hold hold
}

// leaseView is the lease as last read.
type leaseView struct {
	lease *Lease // nil: there is none, or it cannot be verified
	token blobstore.Token
	since instant // when this version was first seen
	bad   string  // why it cannot be used
}

// read reads the lease if it has changed, and goes on.
func (ll *leaseLane) read(then func()) {
	ll.control.read(KindLease, LeaseKey, ll.view.token, func(d Done) {
		switch d.Outcome {
		case OK:
			if ll.view.token != d.Token {
				ll.view = leaseView{lease: d.Object.(*Lease), token: d.Token, since: ll.t}
			}
		case Missing:
			ll.view = leaseView{}
		case Unverified:
			// Someone without the key can put anything here. It counts as no
			// lease, and taking the lock replaces it.
			if ll.view.bad == "" {
				ll.report(Alarm, "lease", "lease.json cannot be verified: %s", errText(d.Err))
			}
			ll.view = leaseView{token: d.Token, bad: errText(d.Err), since: ll.t}
		case NotModified:
		default:
			return
		}
		then()
	})
}

// seen is the lease as last read; nil: there is none that can be verified.
func (ll *leaseLane) seen() *Lease { return ll.view.lease }

// free reports whether the lock can be taken: released, never taken, or
// unchanged for so long that its holder is gone.
func (ll *leaseLane) free() bool {
	l := ll.view.lease
	return l == nil || l.Released || ll.t-ll.view.since >= max(ll.head.silentAfter(), l.TTL.std()+ll.head.fencing().Margin.std())
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
	cached  string  // the newest backup that it says this instance has
}

func (ll *leaseLane) ttl() Duration { return ll.head.fencing().TTL }

func (ll *leaseLane) record(released bool) *Lease {
	p, h := ll.j.Promotion, ll.head.known()
	word := ""
	if p.AppIsStopped {
		word = cmp.Or(p.By, "an operator")
	}
	return &Lease{
		Format: Format, Cluster: ll.p.Cluster, ID: p.ID, Nonce: ll.random(), Holder: ll.p.Self,
		Purpose: p.Mode, TTL: ll.ttl(), Epoch: h.Epoch, Rev: h.Rev, Released: released, StoppedOnWordOf: word, Cached: ll.cached(), Time: ll.now.Wall,
	}
}

// cached is what the lease is to say of this instance's cache: nothing where the newest backup
// is not what is restored, which cannot be pulled perhaps.
func (ll *leaseLane) cached() string {
	switch ref := ll.pull.cached(); {
	case ll.j.Promotion.Chosen != nil:
		return ""
	case ref != nil:
		return ref.ID
	}
	return CachedNone
}

// tells reports whether the active waits for this instance to have a backup, and is to hear
// that it has.
func (ll *leaseLane) tells() bool {
	p := ll.j.Promotion
	return p != nil && p.Phase == PhaseHandover && ll.hold.cached != ll.cached()
}

// take takes the lock if it is free, knowing the lease as just read.
func (ll *leaseLane) take() {
	p, l := ll.j.Promotion, ll.view.lease
	if p.Phase != PhaseLease {
		return
	}
	if ll.mine() {
		ll.holds(ll.view.token)
		return
	}
	if !ll.free() {
		ll.promotion.abort("%s holds the promotion lease (%s, since %s)", l.Holder.Name, l.Purpose, l.Time.UTC().Format(time.RFC3339))
		p.Undone = true // nothing was done
		ll.save(stepPromotionUndone)
		return
	}
	cond := blobstore.IfAbsent()
	if ll.view.token != "" {
		cond = blobstore.IfMatch(ll.view.token)
	}
	ll.send(stepLeaseTake, cond, func() { ll.holds(ll.hold.token) })
}

// send writes the lease once. If the outcome is not known, or another
// write came first, the next look at the lease decides.
func (ll *leaseLane) send(step WriteStep, cond blobstore.Condition, then func()) {
	if !ll.hold.doubt {
		ll.hold.sent = ll.t
	}
	rec := ll.record(false)
	ll.hold.doubt = true
	ll.control.write(step, KindLease, LeaseKey, rec, cond, func(d Done) {
		if d.Outcome != OK {
			return
		}
		ll.view = leaseView{lease: rec, token: d.Token, since: ll.t}
		if ll.tells() {
			ll.emit(Notify{URL: ll.head.known().Active.URL})
		}
		ll.hold.token, ll.hold.cited, ll.hold.recite, ll.hold.cached = d.Token, rec.Rev, false, rec.Cached
		then()
	})
}

func (ll *leaseLane) holds(token blobstore.Token) {
	ll.hold.held, ll.hold.doubt, ll.hold.token, ll.hold.renewed = true, false, token, ll.hold.sent
	if p := ll.j.Promotion; p != nil && p.Phase == PhaseLease {
		p.Phase = PhasePin
		ll.promotion.step("lease", "")
		ll.save(p.Phase.step())
	}
}

// held reports whether this instance holds the lease, as far as it knows.
func (ll *leaseLane) held() bool { return ll.hold.held }

// drop forgets the lease that this instance held.
func (ll *leaseLane) drop() { ll.hold = hold{} }

// cites has the lease cite a newer head, where the active does not answer one that
// cites an older one: one that has just ended a handover obeys none such.
func (ll *leaseLane) cites(h *Head) {
	if h.Rev > ll.hold.cited {
		ll.hold.recite = true
	}
}

// keeps renews a lease that is held, when that is due. It gives the promotion up
// when that comes too late.
func (ll *leaseLane) keeps() bool {
	switch {
	case !ll.hold.held:
	case ll.t-ll.hold.renewed >= (ll.ttl() - ll.head.fencing().Margin).std():
		ll.promotion.abort("the promotion lease could not be renewed in time")
	case ll.hold.doubt || ll.hold.recite || ll.tells() || ll.due(ll.hold.renewed+ll.ttl().std()/3):
		ll.renew()
		return true
	}
	return false
}

// renew renews the lease, or finds out whether it is still held.
func (ll *leaseLane) renew() {
	if !ll.hold.doubt {
		ll.send(stepLeaseRenew, blobstore.IfMatch(ll.hold.token), func() { ll.holds(ll.hold.token) })
		return
	}
	ll.read(func() {
		p, l := ll.j.Promotion, ll.view.lease
		switch {
		case p == nil:
		case l == nil || l.ID != p.ID || l.Released:
			ll.hold.held = false
			ll.promotion.abort("the promotion lease was lost")
		case ll.view.token == ll.hold.token:
			ll.send(stepLeaseRenew, blobstore.IfMatch(ll.hold.token), func() { ll.holds(ll.hold.token) })
		default:
			ll.holds(ll.view.token)
		}
	})
}

// mine reports whether the lease that was read is held by the promotion.
func (ll *leaseLane) mine() bool {
	p, l := ll.j.Promotion, ll.view.lease
	return p != nil && l != nil && l.ID == p.ID && !l.Released
}

// readToken is the version of the lease that was read.
func (ll *leaseLane) readToken() blobstore.Token { return ll.view.token }

// release writes an expired lease, if it is still this promotion's, and
// ends the promotion.
func (ll *leaseLane) release() {
	if ll.j.Promotion == nil {
		return
	}
	if !ll.mine() {
		ll.promotion.end()
		return
	}
	ll.control.write(stepLeaseRelease, KindLease, LeaseKey, ll.record(true), blobstore.IfMatch(ll.view.token), func(d Done) {
		if d.Outcome == OK {
			ll.promotion.end()
		}
	})
}

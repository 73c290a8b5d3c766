package ha

import (
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// headLane is the head as this instance has read it, and when it is read again.
type headLane struct {
	*core
	control  *controlLane
	identity *identityLane
	poll     *pollLane

	cur     *Head // as last seen; nil: must be read (again)
	version blobstore.Token
	since   instant // when this version was first seen
	last    *Head   // kept for people while head is being read again
	alive   bool    // the head was seen to change since the process started
	err     string  // why the head cannot be used
	older   older   // what the bucket shows that is older than what was seen; none: it does not
}

// fresh is the head as last seen; nil: it must be read (again).
func (hl *headLane) fresh() *Head { return hl.cur }

// token is the version of the head that was seen last.
func (hl *headLane) token() blobstore.Token { return hl.version }

// unchangedSince is when this version was first seen.
func (hl *headLane) unchangedSince() instant { return hl.since }

// wasAlive reports whether the head was seen to change since the process started.
func (hl *headLane) wasAlive() bool { return hl.alive }

// trouble is why the head cannot be used; "": nothing is wrong with the head itself.
func (hl *headLane) trouble() string { return hl.err }

// olderOne is what the bucket shows that is older than what was seen.
func (hl *headLane) olderOne() older { return hl.older }

// read reads the head if it has changed, takes it in, and goes on.
func (hl *headLane) read(then func()) {
	hl.poll.looked()
	var unless blobstore.Token
	if hl.cur != nil {
		unless = hl.version
	}
	hl.control.read(KindHead, HeadKey, unless, func(d Done) {
		switch d.Outcome {
		case OK:
			if !hl.adopt(d.Object.(*Head), d.Token) {
				return
			}
		case NotModified:
		case Missing:
			hl.unusable("the bucket has no head.json, though this cluster exists: it was deleted, or this is another bucket; nothing is started or promoted until it is back (restore the object's last version)")
			return
		case Unverified:
			hl.unusable("head.json cannot be verified: " + errText(d.Err))
			return
		default:
			return
		}
		hl.usable()
		if then != nil {
			then()
		}
	})
}

// unusable notes that the head cannot be used: as if the bucket could not be reached,
// with an alarm of its own.
func (hl *headLane) unusable(text string) {
	hl.control.holdOff()
	hl.control.beginsToFail()
	if hl.err != text {
		hl.err = text
		hl.report(Alarm, "head", "%s", text)
	}
}

// usable ends what was wrong with the head.
func (hl *headLane) usable() {
	hl.err = ""
	hl.control.succeeded()
}

// adopt takes in a head that was read. It reports false for a head that is
// older than one already seen.
func (hl *headLane) adopt(h *Head, token blobstore.Token) bool {
	pos, seen := h.Position(), hl.j.Seen
	if h.IsOlder(seen) {
		hl.older = older{h, token}
		hl.cur = nil
		hl.unusable(OlderText(h, seen))
		return false
	}
	hl.older = older{}
	if hl.version != token {
		hl.alive = hl.alive || hl.version != ""
		hl.since = hl.t
	}
	hl.set(h, token)
	if seen.before(pos) {
		hl.identity.noteMissed(h)
		if r := h.Recovery; r != nil && !hl.j.SeenHead.after(r) {
			hl.j.Marked = min(hl.j.Marked, r.Epoch-1) // markers of a history that is lost
		}
		hl.j.Seen, hl.j.SeenHead = pos, h
		hl.save(stepSeen)
	}
	hl.identity.judge()
	return true
}

// wrote takes in a head of this instance's own.
func (hl *headLane) wrote(h *Head, token blobstore.Token) {
	hl.set(h, token)
	hl.since = hl.t
}

// forget has the head read again before anything else.
func (hl *headLane) forget() { hl.cur = nil }

// set takes in a version of the head.
func (hl *headLane) set(h *Head, token blobstore.Token) {
	hl.cur, hl.version, hl.last = h, token, h
}

// config is the digest of the configuration in force.
func (hl *headLane) config() string {
	if h := hl.known(); h != nil {
		return h.Config
	}
	return ""
}

// fencing is what is in force, as far as it is known.
func (hl *headLane) fencing() Fencing {
	if h := hl.known(); h != nil {
		return h.Fencing
	}
	return hl.p.Fencing
}

// known is the head as last seen, while it is being read again too.
func (hl *headLane) known() *Head {
	if hl.cur != nil {
		return hl.cur
	}
	return hl.last
}

// silentAfter is how long an unchanged head or lease speaks for a holder that
// is gone.
func (hl *headLane) silentAfter() time.Duration {
	f := hl.fencing()
	return time.Duration(f.TTL) + time.Duration(f.Margin)
}

// older is an older head as it was last read.
type older struct {
	head  *Head
	token blobstore.Token
}

// seen is the newest head that this instance has seen. What a journal of an
// earlier version does not tell is taken from the older one.
func (hl *headLane) seen(shown *Head) *Head {
	if h := hl.j.SeenHead; h != nil && h.Position() == hl.j.Seen {
		return h
	}
	h := *shown
	h.Epoch, h.Rev, h.Nonce = hl.j.Seen.Epoch, hl.j.Seen.Rev, hl.j.Seen.Nonce
	return &h
}

// activeName names the active, for people.
func (hl *headLane) activeName() string {
	if h := hl.known(); h != nil {
		return h.Active.Name
	}
	return "the active"
}

// silent reports whether the active has shown no sign of life for so long that
// its lease on the head is over.
func (hl *headLane) silent() bool { return hl.t-hl.since >= hl.silentAfter() }

// untrueStrict reports whether this instance would make strict fencing untrue.
func (hl *headLane) untrueStrict(f Fencing) bool { return hl.p.Unstoppable && f.Mode == Strict }

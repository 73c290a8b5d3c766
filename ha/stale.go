package ha

import "github.com/understudy-ha/understudy/blobstore"

// A store answers a read with the newest version; a cache in front of it, or a
// replica that stands in for it, may not. Nothing is decided by that: who acts on an
// older version loses the compare-and-swap. It is noticed where a read contradicts a
// write that has lost, and said; and what would be tried again at once waits.

// stale is an older version that a read has shown.
type stale struct {
	cond blobstore.Condition // under which a write has lost before
	at   instant             // when it was shown
}

// staleError says that the store shows an older version of an object than it has.
type staleError struct{ key string }

func (e *staleError) Error() string {
	return "the bucket shows an older version of " + e.key + " than it has: a write was refused because the object had changed, and a read shows it unchanged; " +
		"find the cache, proxy or replica between this host and the bucket: each read has to show the last write"
}

// noteWrite notes which version of an object the store no longer has.
func (cl *controlLane) noteWrite(key string, cond blobstore.Condition, o Outcome) {
	switch o {
	case Lost:
		cl.lost[key] = cond
	case OK:
		cl.agrees(key)
	}
}

// contradicts reports whether a read shows a version that the store has no more. One
// that was put there again may be the same: so that is believed after a while.
func (cl *controlLane) contradicts(key string, d Done) bool {
	if cond, ok := cl.lost[key]; ok && shows(d, cond) {
		delete(cl.lost, key)
		cl.stale[key] = stale{cond, cl.t}
		return true
	}
	if s, ok := cl.stale[key]; ok && shows(d, s.cond) && cl.t-s.at < cl.head.silentAfter() {
		return true
	}
	cl.agrees(key)
	return false
}

// shows reports whether a read shows what a write would replace.
func shows(d Done, cond blobstore.Condition) bool {
	if cond.Absent() {
		return d.Outcome == Missing
	}
	return (d.Outcome == OK || d.Outcome == NotModified) && d.Token == cond.Match()
}

// agrees notes that reads and writes of an object tell the same.
func (cl *controlLane) agrees(key string) {
	delete(cl.lost, key)
	delete(cl.stale, key)
}

// showsStale reports whether the bucket has shown an older version lately.
func (cl *controlLane) showsStale() bool {
	for key, s := range cl.stale {
		if cl.t-s.at >= cl.head.silentAfter() {
			cl.agrees(key) // nobody looks at it any more
		}
	}
	return len(cl.stale) > 0
}

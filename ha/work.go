package ha

import "time"

// workLane is whatever takes long but pulls: backups, rehearsals, restores. One thing is
// done at a time.
type workLane struct {
	*core
	pull *pullLane

	under    uint64
	retryAt  instant
	wait     time.Duration
	label    string
	yielding bool
}

// isYielding reports whether what is under way was told to make way.
func (wl *workLane) isYielding() bool { return wl.yielding }

// begin starts a piece of work.
func (wl *workLane) begin(label string, then func(Done)) uint64 {
	wl.label, wl.yielding = label, false
	wl.under = wl.expect(then)
	return wl.under
}

// busy reports whether something is under way.
func (wl *workLane) busy() bool { return wl.under != 0 }

// does reports whether this is what is under way.
func (wl *workLane) does(label string) bool { return wl.label == label }

// ended notes the end of a piece of work.
func (wl *workLane) ended(id uint64) {
	if id == wl.under {
		wl.under, wl.label = 0, ""
	}
}

// cancel has what is under way end soon.
func (wl *workLane) cancel() {
	if wl.under != 0 {
		wl.emit(Cancel{ID: wl.under})
	}
}

// mayTry reports whether what has failed last may be tried again.
func (wl *workLane) mayTry() bool { return wl.due(wl.retryAt) }

// yield has whatever takes long make way: it ends soon.
func (wl *workLane) yield() {
	if wl.under != 0 {
		wl.yielding = true
		wl.emit(Cancel{ID: wl.under})
	}
	wl.pull.yield()
}

// succeeded forgets what has failed.
func (wl *workLane) succeeded() { wl.wait, wl.retryAt = 0, 0 }

// atOnce has what has failed tried again at once.
func (wl *workLane) atOnce() { wl.retryAt = 0 }

// failed has the work lane wait before it tries again.
func (wl *workLane) failed(what string, err error) {
	wl.wait = min(max(workRetry, 2*wl.wait), workRetryMax)
	wl.retryAt = wl.t + wl.wait
	wl.report(Alarm, what, "%s failed (tried again in %v): %s", what, wl.wait, errText(err))
}

// names names what takes long and is under way.
func (wl *workLane) names() string {
	switch {
	case !wl.pull.busy():
		return wl.label
	case wl.under == 0:
		return "pull"
	}
	return wl.label + ", pull"
}

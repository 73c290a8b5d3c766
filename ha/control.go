package ha

import (
	"errors"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// controlLane is the requests to the store, of which one is under way at a time.
type controlLane struct {
	*core
	head *headLane

	request   uint64
	retryAt   instant // no request to the store before
	retryWait time.Duration
	failing   bool // the last request to the store failed
	failSince instant
	failure   string                         // why it failed last, in a few words
	lost      map[string]blobstore.Condition // under which writes have lost, by key
	stale     map[string]stale               // older versions that were shown lately, by key
	foundAt   instant                        // when it was last known that the bucket has what was made; never: not to this process
}

// isFailing reports whether the last request to the store failed.
func (cl *controlLane) isFailing() bool { return cl.failing }

// failingSince is since when.
func (cl *controlLane) failingSince() instant { return cl.failSince }

// mayAsk reports whether a request may be sent now.
func (cl *controlLane) mayAsk() bool { return cl.request == 0 && cl.due(cl.retryAt) }

// ask makes room for the answer to a request, which is the only one under way.
func (cl *controlLane) ask(then func(Done)) uint64 {
	cl.request = cl.expect(then)
	return cl.request
}

// ended notes the end of a request.
func (cl *controlLane) ended(id uint64) {
	if id == cl.request {
		cl.request = 0
	}
}

// atOnce has the next request wait for nothing.
func (cl *controlLane) atOnce() { cl.retryAt = 0 }

// holdOff has the next request wait, longer each time.
func (cl *controlLane) holdOff() {
	cl.retryWait = min(max(retryFirst, 2*cl.retryWait), cl.p.Poll)
	cl.retryAt = cl.t + cl.retryWait
}

// beginsToFail notes that the bucket cannot be used, and reports whether that is new.
func (cl *controlLane) beginsToFail() bool {
	if cl.failing {
		return false
	}
	cl.failing, cl.failSince = true, cl.t
	return true
}

// read asks for a control object.
func (cl *controlLane) read(kind Kind, key string, unless blobstore.Token, then func(Done)) {
	id := cl.ask(func(d Done) {
		if d.Outcome == NotModified {
			d.Token = unless
		}
		switch {
		case d.Outcome == Unknown:
			cl.failed(d.Err)
		case cl.contradicts(key, d):
			cl.failed(&staleError{key})
		case kind != KindHead:
			cl.succeeded()
		}
		then(d)
	})
	cl.emit(Read{ID: id, Kind: kind, Key: key, IfChanged: unless})
}

// write sends a control object.
func (cl *controlLane) write(step WriteStep, kind Kind, key string, object any, cond blobstore.Condition, then func(Done)) {
	id := cl.ask(func(d Done) {
		cl.noteWrite(key, cond, d.Outcome)
		if d.Outcome == OK || d.Outcome == Lost {
			cl.succeeded()
		} else {
			cl.failed(d.Err)
		}
		then(d)
	})
	cl.emit(Write{ID: id, Step: step, Kind: kind, Key: key, Object: object, Cond: cond})
}

// failed follows a request that has failed.
func (cl *controlLane) failed(err error) {
	cl.holdOff()
	if errors.Is(err, ErrJournal) {
		return // the store was not asked
	}
	cl.failure = failureText(err)
	if cl.beginsToFail() {
		cl.report(Alarm, "bucket", "the bucket cannot be used: %v", err)
	}
}

// succeeded ends what was wrong with the bucket, unless the head cannot be used,
// or the bucket shows older versions.
func (cl *controlLane) succeeded() {
	if cl.showsStale() {
		return
	}
	cl.retryWait, cl.retryAt = 0, 0
	if cl.failing && cl.head.trouble() == "" {
		cl.failing = false
		cl.report(Info, "bucket", "the bucket can be used again after %v", cl.t-cl.failSince)
	}
}

func errText(err error) string {
	if err == nil {
		return "no reason given"
	}
	return err.Error()
}

// tell writes an object that is written once. One that is there already is an
// earlier attempt, or another instance's that says the same, which is looked at
// before that is believed: whoever can write to the bucket can put something else
// there, and a bucket that was put back has another history's. Nothing that is
// signed is replaced: something else may lead to a backup by it.
func (cl *controlLane) tell(step WriteStep, kind Kind, key string, object any, then func()) {
	cl.write(step, kind, key, object, blobstore.IfAbsent(), func(d Done) {
		if d.Outcome == OK {
			then()
			cl.save(stepSeen)
		}
		if d.Outcome != Lost {
			return
		}
		cl.read(kind, key, "", func(d Done) {
			switch d.Outcome {
			case OK:
				if !saysTheSame(object, d.Object) {
					cl.report(Alarm, "bucket", "%s is there already, and says something else than this instance has to say: it is left as it is", key)
				}
				then()
				cl.save(stepSeen)
			case Unverified:
				cl.report(Alarm, "bucket", "%s cannot be verified, and is replaced: %s", key, errText(d.Err))
				cl.write(step, kind, key, object, blobstore.IfMatch(d.Token), func(d Done) {
					if d.Outcome == OK {
						then()
						cl.save(stepSeen)
					}
				})
			}
		})
	})
}

// trouble says why the bucket cannot be used.
func (cl *controlLane) trouble() string {
	if cl.head.trouble() != "" {
		return cl.head.trouble()
	}
	return cl.failure
}

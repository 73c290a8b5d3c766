package ha

import "time"

// rejoinLane has a former active follow as it is, where it can: it need not wait for a
// backup to be restored then. That is tried once, when the instance has stepped down.
type rejoinLane struct {
	*core
	head    *headLane
	work    *workLane
	restore *restoreLane
	streams *streamsLane

	from  *Demotion // that has ended, and what its successor has begun with; nil: nothing to try
	until instant   // the successor's application is waited for
}

// rejoinMost is for how long a former active waits for its successor's application to run. The
// two may share what their disks lie on, and the copy of a data folder takes all of that.
const rejoinMost = time.Minute

// steppedDown follows a demotion that has ended.
func (rl *rejoinLane) steppedDown(d *Demotion) {
	if d.Restored != nil && !d.Unstopped && !rl.p.Rehearsal.Off {
		rl.from, rl.until = d, rl.t+rejoinMost
	}
}

// isToCome reports whether it is still to be tried.
func (rl *rejoinLane) isToCome() bool { return rl.from != nil }

// mayBegin reports whether the successor's application runs, as far as the head says so: a
// backup of its epoch is there, or a stream. Without either for long, it is not waited for.
func (rl *rejoinLane) mayBegin() bool {
	if !rl.streams.hasSources() {
		return true // there is nothing to copy
	}
	if h := rl.head.known(); h != nil && h.Epoch > rl.from.Epoch {
		if h.Newest != nil && h.Newest.Epoch == h.Epoch {
			return true
		}
		for _, s := range h.Streams {
			if s.ID.Epoch == h.Epoch {
				return true
			}
		}
	}
	return rl.due(rl.until)
}

// plan begins to try, beside a pull perhaps. It reports whether it did.
func (rl *rejoinLane) plan() bool {
	from := rl.from
	if from == nil || rl.work.busy() || rl.j.Promotion == nil && !rl.mayBegin() {
		return false
	}
	if rl.from = nil; rl.j.Role != RoleStandby || rl.j.Promotion != nil || rl.j.Demotion != nil || rl.restore.leftReplaced() {
		return false // the next rehearsal stages a backup
	}
	id := rl.work.begin(workRehearsal, func(d Done) {
		switch {
		case d.Outcome != OK && !rl.work.isYielding():
			rl.report(Warn, "demotion", "whether this instance can follow as it is could not be looked at: it is made a standby of a backup, as a new one is: %s", errText(d.Err))
		case d.Note != "":
			rl.report(Info, "demotion", "%s", d.Note)
		}
	})
	rl.emit(Rejoin{ID: id, Ref: *from.Restored, Ends: from.Ends})
	return true
}

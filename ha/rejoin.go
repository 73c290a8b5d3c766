package ha

// rejoinLane has a former active follow as it is, where it can: it need not wait for a
// backup to be restored then. That is tried once, when the instance has stepped down.
type rejoinLane struct {
	*core
	work    *workLane
	restore *restoreLane

	from *Demotion // that has ended, and what its successor has begun with; nil: nothing to try
}

// steppedDown follows a demotion that has ended.
func (rl *rejoinLane) steppedDown(d *Demotion) {
	if d.Restored != nil && !d.Unstopped && !rl.p.Rehearsal.Off {
		rl.from = d
	}
}

// plan begins to try, beside a pull perhaps. It reports whether it did.
func (rl *rejoinLane) plan() bool {
	from := rl.from
	if from == nil || rl.work.busy() {
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

package ha

import "time"

// restoreLane is what a promotion does to the application's data: staging, swapping, undoing.
type restoreLane struct {
	*core
	head      *headLane
	app       *appLane
	work      *workLane
	rehearsal *rehearsalLane
	promotion *promotionLane
	commit    *commitLane

	rollbackErr  string  // why the promotion could not be undone, the last time
	discardErr   string  // why what was replaced could not be set aside, the last time
	replacedLeft bool    // what a committed swap replaced is still to be set aside
	discardAt    instant // not before
	discardWait  time.Duration
}

// rollbackTrouble is why a promotion could not be undone, the last time.
func (rl *restoreLane) rollbackTrouble() string { return rl.rollbackErr }

// leftReplaced reports whether what a swap replaced is still to be set aside.
func (rl *restoreLane) leftReplaced() bool { return rl.replacedLeft }

// plan does the promotion's long work: staging, swapping, undoing.
func (rl *restoreLane) plan(p *Promotion) {
	switch p.Phase {
	case PhaseRestore:
		ref := *p.Backup
		id := rl.work.begin("restore", func(d Done) { rl.restored(ref.ID, d) })
		rl.rehearsal.stages()
		rl.emit(Stage{ID: id, Ref: ref, AllowFailed: p.AllowFailed, Ends: p.applied(), Moment: p.Moment})
	case PhaseSwap:
		if !rl.app.is(appStopped) {
			return
		}
		p.Swapped = true // from here on a rollback swaps back
		rl.save(stepSeen)
		rl.emit(Swap{ID: rl.work.begin("swap", rl.swapped)})
	case PhaseRollback:
		if p.Undone || !rl.work.mayTry() || rl.maybeSwapped() && (!rl.app.is(appStopped) || !rl.maySwapBack()) {
			return
		}
		if rl.replacedLeft { // by an earlier promotion: this one has staged nothing
			p.Undone = true
			rl.save(stepPromotionUndone)
			return
		}
		id := rl.work.begin(workRollback, func(d Done) {
			if d.Outcome != OK {
				rl.work.failed("rollback", d.Err)
				rl.rollbackErr = errText(d.Err)
				if rl.j.Promotion.Swapped {
					rl.app.doubts() // it may be what is in the way
				}
				return
			}
			rl.work.succeeded()
			rl.rollbackErr = ""
			p := rl.j.Promotion
			p.Undone = true
			rl.save(stepPromotionUndone)
		})
		rl.emit(Rollback{ID: id})
	}
}

// workRollback is the work that undoes what a promotion has done.
const workRollback = "rollback"

// maybeSwapped reports whether a promotion's state may be in place: by the journal, or
// because a swap was there when the process started, which a journal that was put back
// knows nothing of.
func (rl *restoreLane) maybeSwapped() bool {
	p := rl.j.Promotion
	return p != nil && p.Swapped || rl.p.Swapped
}

// maySwapBack reports whether it is known that what was swapped in was not
// committed, as it was where the data folder was put back since.
func (rl *restoreLane) maySwapBack() bool {
	return rl.head.known() != nil && rl.j.Missed == 0 && !rl.promotion.mustProve()
}

func (rl *restoreLane) restored(id string, d Done) {
	p := rl.j.Promotion
	if p == nil || p.Phase != PhaseRestore {
		return
	}
	if d.Outcome != OK {
		rl.promotion.abort("restoring backup %s failed: %s", id, errText(d.Err))
		return
	}
	if rl.promotion.streamsChanged(rl.head.known()) {
		rl.report(Warn, "promotion", "the active has opened another stream: it is ended first")
		rl.promotion.endStreams(rl.head.known())
		return
	}
	// A failover for the newest backup follows one that appeared meanwhile.
	if h := rl.head.known(); p.Mode == ModeFailover && p.Chosen == nil && h.Epoch == p.Epoch && h.Newest.Digest != p.Newest.Digest {
		rl.report(Warn, "promotion", "a newer backup appeared: restoring %s", h.Newest.ID)
		rl.promotion.restoreFrom(h)
		return
	}
	p.Phase = PhaseSwap
	rl.app.doubts() // somebody may have started it on this standby
	if d.Note != "" {
		id += ": " + d.Note
	}
	rl.promotion.step("restore", id)
	rl.save(p.Phase.step())
}

func (rl *restoreLane) swapped(d Done) {
	p := rl.j.Promotion
	if p == nil || p.Phase != PhaseSwap {
		return
	}
	if d.Outcome != OK {
		rl.promotion.abort("swapping the restored state into place failed: %s", errText(d.Err))
		return
	}
	p.Phase = PhaseCommit
	rl.commit.afresh()
	rl.promotion.step("swap", d.Note)
	rl.save(p.Phase.step())
}

// committed notes that what a swap replaced is to be set aside.
func (rl *restoreLane) committed() { rl.replacedLeft = true }

// discardDue reports whether what a committed swap replaced is to be set aside
// now. Nothing waits for that but the next stage, and it waits for the
// application.
func (rl *restoreLane) discardDue() bool {
	p := rl.j.Promotion
	switch {
	case !rl.replacedLeft:
		return false
	case p != nil && p.Phase == PhaseRestore:
		return true
	case p == nil, p.Phase == PhaseFinish && (rl.app.is(appRunning) || rl.app.trouble() != ""):
		return rl.due(rl.discardAt)
	}
	return false
}

// trouble says what a promotion has left behind that is tried again.
func (rl *restoreLane) trouble() string {
	switch {
	case rl.rollbackErr != "":
		return "what a promotion did cannot be put back, which is tried again: " + rl.rollbackErr
	case rl.discardErr != "":
		return "what the last promotion replaced cannot be set aside, which is tried again: " + rl.discardErr
	}
	return ""
}

// planDiscard sets aside what a swap replaced, once the commit is known.
func (rl *restoreLane) planDiscard() {
	id := rl.work.begin("discard", func(d Done) {
		if d.Outcome != OK {
			rl.discardWait = min(max(workRetry, 2*rl.discardWait), workRetryMax)
			rl.discardAt, rl.discardErr = rl.t+rl.discardWait, errText(d.Err)
			rl.report(Alarm, "discard", "what the last promotion replaced could not be set aside (tried again in %v): %s", rl.discardWait, errText(d.Err))
			if p := rl.j.Promotion; p != nil && p.Phase == PhaseRestore {
				rl.promotion.abort("what the last promotion replaced could not be set aside: %s", errText(d.Err))
			}
			return
		}
		rl.replacedLeft, rl.discardAt, rl.discardWait, rl.discardErr = false, 0, 0, ""
	})
	rl.emit(Discard{ID: id})
}

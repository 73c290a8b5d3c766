package ha

import "time"

// A handover is the active's half of a switchover. It begins when a verified
// lease asks for one; a backup under way ends; the application stops; the final
// backup is made and published in the very head that hands over. From the
// moment that this head is sent the application stays stopped until a head that
// takes back is confirmed.

// handoverLane is the handover of an active.
type handoverLane struct {
	*core
	head       *headLane
	control    *controlLane
	lease      *leaseLane
	app        *appLane
	schedule   *scheduleLane
	work       *workLane
	streams    *streamsLane
	checkpoint *checkpointLane

	pullUntil instant // the candidate is waited for that does not have the newest backup
	stopSince instant // handing over: when the application began to stop; never: not known
	toldStop  bool    // and the candidate was notified of that
}

// citeWindow is how many revisions old a head may be that a lease cites: an
// old lease, put back by someone who can write to the bucket, cites an older
// one.
const citeWindow = 32

// lookAtLease follows what the lease asks of the active.
func (hl *handoverLane) lookAtLease() {
	l := hl.lease.seen()
	asked := l != nil && l.Purpose == ModeSwitchover && l.Holder.Name != hl.p.Self.Name && !hl.lease.free()
	hj := hl.j.Handover
	switch {
	case hj != nil && !(asked && l.ID == hj.Lease):
		hl.end()
	case hj == nil && asked && hl.j.Promotion == nil && l.Epoch == hl.j.Epoch && l.Rev > hl.j.Floor && l.Rev <= hl.head.fresh().Rev && hl.head.fresh().Rev-l.Rev <= citeWindow:
		hl.j.Handover = &HandoverJournal{Lease: l.ID, To: l.Holder, Phase: HandoverStopping, Word: l.StoppedOnWordOf}
		hl.stopSince, hl.toldStop = never, false
		hl.pullUntil = hl.t + pullMost
		hl.save(HandoverStopping.step())
		hl.checkpoint.begin()
		hl.report(Info, "handover", "%s asks to take over: stopping the application", l.Holder.Name)
	}
}

// stopBegins notes when the application began to stop for a handover.
func (hl *handoverLane) stopBegins() {
	if hj := hl.j.Handover; hj != nil && hj.Phase == HandoverStopping && hl.stopSince == never {
		hl.stopSince = hl.t
	}
}

// end follows a candidate that gave up or is gone.
func (hl *handoverLane) end() {
	hj := hl.j.Handover
	switch hj.Phase {
	case HandoverSent:
		hj.Phase = HandoverReturning
		hl.save(hj.Phase.step())
		hl.report(Warn, "handover", "%s did not take over: taking back", hj.To.Name)
	case HandoverReturning:
	default:
		if hj.Phase == HandoverFinal || hj.Phase == HandoverClosing {
			hl.work.cancel()
		}
		hl.report(Info, "handover", "%s no longer asks to take over", hj.To.Name)
		hl.drop()
	}
}

func (hl *handoverLane) drop() {
	if p := hl.j.Handover.Phase; p == HandoverFinal || p == HandoverClosing {
		hl.schedule.forgetMaking()
	}
	hl.j.Handover = nil
	hl.j.Floor = hl.head.fresh().Rev
	hl.save(stepHandoverEnded)
}

// said is what the head is to say of the handover.
func (hl *handoverLane) said() *Handover {
	hj := hl.j.Handover
	if hj == nil || hj.Phase == HandoverReturning {
		return nil
	}
	h := &Handover{To: hj.To, Lease: hj.Lease, State: Preparing}
	h.Waits, h.Left = hl.waits()
	if hl.stopSince != never {
		h.StoppedFor = Duration(max(1, hl.t-hl.stopSince)) // 0: not yet
	}
	switch {
	case hj.Phase == HandoverDeclined:
		h.State, h.Reason = Declined, hj.Reason
	case hj.isReady():
		h.State = Handed
		if hj.Unstopped {
			h.Unstopped, h.OnWordOf = true, hj.Word
		}
	}
	return h
}

// maxWaits bounds what a head says of a hook's error.
const maxWaits = 300

// waits says what a handover waits for, and for how much longer at most;
// 0: that is not known.
func (hl *handoverLane) waits() (string, Duration) {
	hj := hl.j.Handover
	switch {
	case hj.isReady(), hj.Phase == HandoverDeclined:
		return "", 0
	case hj.Phase == HandoverClosing:
		return "its streams to be closed", 0
	case hj.Phase == HandoverFinal, hl.app.is(appStopped):
		return "its final backup", 0
	case hl.inBackup():
		return "the end of a backup that had begun before; its application runs on meanwhile", 0
	case hl.app.is(appRunning) && hl.checkpoint.underWay():
		return "its servers to write what they hold; its application runs on meanwhile", 0
	case hl.app.is(appRunning) && hl.awaitsPull():
		return hj.To.Name + " to have backup " + hl.head.fresh().Newest.ID + "; the application runs on meanwhile", 0
	case hl.app.trouble() == "" || !hl.app.failsToStop():
		return "its application to stop", 0
	}
	failure := []rune(hl.app.trouble())
	if len(failure) > maxWaits {
		failure = append(failure[:maxWaits], '…')
	}
	return "its application to stop, which has failed and is tried again: " + string(failure), Duration(max(0, hl.stopSince+hl.patience()-hl.t))
}

// patience is for how long an application that does not stop is told to,
// before a handover is declined.
func (hl *handoverLane) patience() time.Duration {
	return max(time.Minute, 3*hl.head.fencing().StopTimeout.std())
}

// plan declines a handover when nothing here can stop the application, and
// nobody has given their word that it is stopped; or when it has not stopped for too
// long, and no attempt is under way: it runs on, or runs again.
func (hl *handoverLane) plan() {
	hj := hl.j.Handover
	if hj != nil && hl.inBackup() {
		hl.pullUntil = hl.t + pullMost
	}
	if hj != nil && hj.Phase == HandoverStopping && hj.Word == "" && (hl.p.Unstoppable || hl.app.is(appStopped) && hl.app.isUnstopped()) {
		hl.decline(RefuseSwitchover(hl.p.Self.Name))
		return
	}
	if hj == nil || hj.Phase != HandoverStopping || hl.app.hookRuns() || hl.app.is(appStopped) || !hl.app.failsToStop() ||
		hl.stopSince == never || !hl.due(hl.stopSince+hl.patience()) {
		return
	}
	hl.decline("its application has not stopped for " + hl.patience().String() + ": " + hl.app.trouble())
}

// decline tells the candidate why there is no handover.
func (hl *handoverLane) decline(reason string) {
	hj := hl.j.Handover
	hj.Phase, hj.Reason = HandoverDeclined, reason
	hl.save(hj.Phase.step())
	hl.report(Alarm, "handover", "not handing over: %s", reason)
}

func (hl *handoverLane) unsaid() bool {
	return !hl.said().says(hl.head.fresh().Handover)
}

// finalBackup makes the last backup before the head is handed over, with the
// application stopped.
func (hl *handoverLane) finalBackup() {
	hj := hl.j.Handover
	hj.Phase, hj.Unstopped = HandoverFinal, hl.app.isUnstopped()
	if hj.Unstopped {
		hl.reportBy(hj.Word, Warn, "handover", "nothing here can stop the application: it is stopped on the word of %s, and nobody has looked", hj.Word)
	}
	if hj.Unsure = !hj.Unstopped && !hl.app.hasCome(); hj.Unsure {
		hl.report(Info, "handover", "the application was stopped before its start had ended: whether it has written since then is looked at once %s is the active", hj.To.Name)
	}
	hl.save(hj.Phase.step())
	lease := hj.Lease
	hl.schedule.start(&wish{trigger: "switchover", reason: "handover to " + hj.To.Name}, func(d Done) {
		hj := hl.j.Handover
		if hj == nil || hj.Lease != lease {
			return
		}
		if d.Outcome != OK {
			hl.schedule.forgetMaking()
			hl.decline("the final backup failed: " + errText(d.Err))
			return
		}
		hj.Final = d.Ref
		hl.control.made()
		if len(hl.streams.named()) > 0 {
			hj.Phase = HandoverClosing
		}
		hl.save(hj.Phase.step())
	})
}

// mustCloseStreams reports whether the streams are to be closed now: the final backup is
// made.
func (hl *handoverLane) mustCloseStreams() bool {
	hj := hl.j.Handover
	return hj != nil && hj.Phase == HandoverClosing && hj.Ends == nil
}

// closeStreams closes the streams before the head is handed over: whatever they end
// with is then what the candidate takes in.
func (hl *handoverLane) closeStreams() {
	lease := hl.j.Handover.Lease
	hl.streams.close(func(ends map[string]Stream, err error) {
		hj := hl.j.Handover
		if hj == nil || hj.Lease != lease || hj.Phase != HandoverClosing {
			return
		}
		if err != nil {
			hj.Final = nil
			hl.schedule.forgetMaking()
			hl.decline("its streams could not be closed: " + err.Error())
			return
		}
		hj.Ends = ends
		hl.save(hj.Phase.step())
	})
}

// closesStreams reports whether a handover closes the streams, or has closed them.
func (hl *handoverLane) closesStreams() bool {
	hj := hl.j.Handover
	return hj != nil && (hj.Phase == HandoverClosing || hj.Phase == HandoverSent || hj.Phase == HandoverReturning)
}

// ends are the streams that a handover has closed.
func (hl *handoverLane) ends() map[string]Stream {
	if hl.j.Handover == nil {
		return nil
	}
	return hl.j.Handover.Ends
}

// confirmed follows up on a confirmed head.
func (hl *handoverLane) confirmed() {
	hj := hl.j.Handover
	if hj == nil {
		return
	}
	switch said := hl.head.fresh().Handover; {
	case said != nil && said.State == Preparing && said.StoppedFor > 0 && !hl.toldStop:
		hl.toldStop = true
		if hj.To.URL != "" {
			hl.emit(Notify{URL: hj.To.URL}) // it looks often from now on
		}
	case hj.Phase == HandoverSent && said != nil && said.State == Handed:
		if hl.schedule.isMaking() {
			hl.schedule.forgetMaking()
			hl.report(Info, "handover", "handed over to %s with backup %s; the application stays stopped", hj.To.Name, hj.Final.ID)
			hl.emit(Notify{Ref: hj.Final})
		}
	case hj.Phase == HandoverReturning && said == nil:
		hl.schedule.forgetMaking()
		hl.report(Info, "handover", "taken back: this instance goes on as the active")
		hl.drop()
	}
}

// underWay reports whether a handover keeps the application stopped.
func (hl *handoverLane) underWay() bool {
	return hl.j.Handover != nil && hl.j.Handover.Phase != HandoverDeclined
}

// unseen reports whether this process would say that the application was handed
// over, and has not seen to its being stopped: since its journal was written the host
// may have been started again, or the journal put back.
func (hl *handoverLane) unseen() bool {
	hj := hl.j.Handover
	return hj != nil && hj.Phase == HandoverSent && !hl.app.is(appStopped)
}

// lets reports whether a handover lets the application run on for now.
func (hl *handoverLane) lets() bool {
	return hl.inBackup() || hl.checkpoint.underWay() || hl.awaitsPull()
}

// pullMost is for how long a handover waits for a candidate to pull what it lacks.
const pullMost = 5 * time.Minute

// awaitsPull reports whether a handover waits until the candidate has the newest backup, which
// may be a moment old: pulled behind the stop, it would have the application wait.
func (hl *handoverLane) awaitsPull() bool {
	hj, l, h := hl.j.Handover, hl.lease.seen(), hl.head.fresh()
	return hj.Phase == HandoverStopping && hj.Word == "" && !hl.app.is(appStopped) && hl.stopSince == never &&
		l != nil && l.ID == hj.Lease && l.Cached != "" && h != nil && h.Newest != nil && l.Cached != h.Newest.ID && !hl.due(hl.pullUntil)
}

// inBackup reports whether a handover waits for a backup that began before it.
// The application goes on meanwhile, for the backup may take long, and its
// hooks may need it.
func (hl *handoverLane) inBackup() bool {
	return hl.schedule.isMaking() && hl.j.Handover.Phase == HandoverStopping
}

// finalLost forgets the final backup of a handover, where there is one that was lost.
// A head that hands over with it may have been sent: then the active takes back.
func (hl *handoverLane) finalLost() bool {
	if hj := hl.j.Handover; hj != nil && hj.Final != nil {
		hj.Final = nil
		hl.schedule.forgetMaking()
		if hj.Phase == HandoverFinal || hj.Phase == HandoverClosing {
			hj.Phase = HandoverStopping
		} else {
			hj.Phase = HandoverReturning
		}
		hl.save(hj.Phase.step())
		return true
	}
	return false
}

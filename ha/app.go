package ha

import "time"

// appLane is the application: whether it runs, and one hook at a time.
type appLane struct {
	*core
	head      *headLane
	writing   *writingLane
	control   *controlLane
	identity  *identityLane
	promotion *promotionLane
	handover  *handoverLane
	farewell  *farewellLane

	state     appState
	hook      uint64
	starting  bool
	cut       bool     // the start under way was told to end, because the application is to stop
	came      bool     // this process saw its last start end well
	doubt     bool     // the hook under way says nothing any more
	unstopped bool     // it was to stop last, and nothing here can stop it
	failed    appState // what it could not be brought to be last
	retryAt   instant
	wait      time.Duration
	err       string
	override  bool // an operator started the application without the bucket
}

// known is what is known of the application.
func (al *appLane) known() appState { return al.state }

// isUnstopped reports whether the application was to stop last, and nothing here can stop it.
func (al *appLane) isUnstopped() bool { return al.unstopped }

// hasCome reports whether this process saw the application's last start end well. What a
// start has left that was cut off may come up after a stop, and write.
func (al *appLane) hasCome() bool { return al.came }

// trouble is why the application could not be started or stopped last.
func (al *appLane) trouble() string { return al.err }

// overridden reports whether an operator started the application without the bucket.
func (al *appLane) overridden() bool { return al.override }

// appState is what is known of the application.
type appState string

const (
	appUnknown appState = ""
	appRunning appState = "running"
	appStopped appState = "stopped"
)

// wanted says what the application should be doing; appUnknown leaves it as
// it is.
func (al *appLane) wanted() appState {
	p := al.j.Promotion
	switch {
	case al.farewell.isLeaving(),
		al.j.Demotion != nil && !al.j.Demotion.Acked,
		al.identity.refusal() != "",
		al.handover.underWay() && !al.handover.lets(),
		p != nil && (p.Phase != PhaseFinish || !p.Acked),
		al.j.Holder != nil,
		al.j.Role != RoleActive:
		return appStopped
	case al.fencedOff():
		return appStopped
	case al.handover.underWay():
		return appUnknown
	case al.override:
		return appRunning
	case !al.identity.isLeading(), al.j.Pending != nil && !al.is(appRunning):
		return appUnknown
	}
	return appRunning
}

// fencedOff reports, in strict mode, that the last confirmed renewal is so old
// that the application must be stopping now, so that it has stopped at TTL
// minus margin, when a successor may begin to count on it.
func (al *appLane) fencedOff() bool {
	at, strict := al.writing.fenceAt()
	if !strict || al.override {
		return false
	}
	if !al.identity.isLeading() && !al.writing.isDated() {
		// How old the last renewal of the process before is, nobody knows.
		return al.control.isFailing()
	}
	return al.due(at)
}

// timeIsOver reports that a successor may begin to count on it that nothing is written here.
// In a handover what the servers of sources hold goes to the successor before they stop.
func (al *appLane) timeIsOver() bool {
	return al.j.Role == RoleActive && al.fencedOff() && !al.handover.underWay()
}

// longAgo is a renewal for which no fencing lets an application run on.
const longAgo = -never / 2

// until is for how long the application may go on without another renewal,
// should this process fall silent; negative: without end.
func (al *appLane) until() time.Duration {
	at, strict := al.writing.fenceAt()
	if !strict || al.override {
		return -1
	}
	return max(0, at-al.t)
}

// plan starts or stops the application.
func (al *appLane) plan() {
	want := al.wanted()
	if want == appUnknown || want == al.state {
		return
	}
	if al.hook != 0 {
		if want == appStopped && al.starting {
			al.starting, al.cut = false, true
			al.emit(Cancel{ID: al.hook}) // a start that hangs must not hold up a stop
		}
		return
	}
	if want == al.failed && !al.due(al.retryAt) {
		return // a start that fails must not hold up a stop either
	}
	al.state = appUnknown
	al.hook = al.expect(func(d Done) { al.done(want, d) })
	if want == appStopped {
		al.handover.stopBegins()
		al.emit(StopApp{ID: al.hook, Epoch: al.j.Epoch, Servers: al.timeIsOver()})
		return
	}
	al.starting, al.came = true, false
	var id string
	if al.head.fresh() != nil && al.head.fresh().StartedFrom != nil {
		id = al.head.fresh().StartedFrom.ID
	}
	al.emit(StartApp{ID: al.hook, Epoch: al.j.Epoch, Backup: id})
}

// is reports whether the application is known to be so.
func (al *appLane) is(state appState) bool { return al.state == state }

// forget has the application stopped again, to be sure, whoever started it.
func (al *appLane) forget() { al.state, al.override = appUnknown, false }

// endOverride ends an operator's word: the bucket says again what is to be.
func (al *appLane) endOverride() { al.override = false }

// isStarting reports whether the application is being started.
func (al *appLane) isStarting() bool { return al.starting }

// hookRuns reports whether the application is being started or stopped.
func (al *appLane) hookRuns() bool { return al.hook != 0 }

// ended notes the end of a hook.
func (al *appLane) ended(id uint64) {
	if id == al.hook {
		al.hook = 0
	}
}

// failsToStop reports whether the application was told to stop last, and did not.
func (al *appLane) failsToStop() bool { return al.failed == appStopped }

// doubts has the application stopped or started again, whatever is believed of
// it: somebody else may have done otherwise.
func (al *appLane) doubts() {
	al.state, al.failed = appUnknown, appUnknown
	al.doubt = al.hook != 0 // what is under way began before
	al.changed()
}

func (al *appLane) done(want appState, d Done) {
	cut := al.cut
	al.starting, al.cut = false, false
	if al.doubt {
		al.doubt = false
		return
	}
	if d.Outcome == OK {
		al.state, al.err, al.failed, al.wait = want, "", appUnknown, 0
		al.unstopped = d.Unstopped
		al.came = al.came || want == appRunning
		al.promotion.measureDowntime()
		if d.Unstopped {
			al.report(Info, "application", "nothing here can stop the application: whether it runs is not known")
			return
		}
		al.report(Info, "application", "the application is %s", want)
		return
	}
	if cut {
		al.report(Info, "application", "the start of the application was ended: it is to stop")
		return
	}
	if want != al.failed {
		al.failed, al.wait = want, 0
	}
	al.wait = min(max(time.Second, 2*al.wait), 30*time.Second)
	al.retryAt = al.t + al.wait
	if p := al.j.Promotion; p != nil && p.Phase == PhaseSwap && want == appStopped {
		al.promotion.abort("the application on this instance could not be stopped: %s", errText(d.Err))
	}
	if text := errText(d.Err); text != al.err {
		al.err = text
		al.report(Alarm, "application", "the application could not be brought to be %s (tried again): %s", want, text)
	}
}

// startAnyway starts the application of an active that cannot reach the
// bucket, because an operator says so.
func (al *appLane) startAnyway(ev StartAnyway) {
	switch {
	case al.j.Role != RoleActive || al.identity.refusal() != "":
		al.refuse(ev.Request, "this instance is not the active: its application is not started")
	case al.handover.underWay() || al.j.Promotion != nil || al.j.Pending != nil && al.j.Pending.Commit:
		al.refuse(ev.Request, "a promotion or handover is under way: the application is not started")
	case al.identity.isLeading() && !al.control.isFailing():
		al.refuse(ev.Request, "the bucket can be used: there is nothing to override")
	default:
		al.override = true
		if al.j.Demotion != nil {
			al.j.Demotion = nil // what it writes from now on is in no salvage backup
			al.passes(stepDemotionEnded)
		}
		al.save(stepSeen)
		al.reportBy(ev.By, Alarm, "fencing", "%s starts the application without the bucket: another instance may have been promoted", ev.By)
		al.answer(ev.Request, nil, nil)
	}
}

// usePolicy takes in what the instance's configuration says now. Once something
// can stop the application, it does.
func (al *appLane) usePolicy(ev UsePolicy) {
	al.p.Rehearsal = ev.Rehearsal
	if al.p.Unstoppable && !ev.Unstoppable && (al.unstopped || al.hookRuns()) {
		al.doubts()
	}
	al.p.Unstoppable = ev.Unstoppable
	al.changed()
}

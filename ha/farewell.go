package ha

// A process that ends in good order, with an application that ends with it, says
// so in the head. No process of this instance starts the application before it
// has claimed the head again, which replaces that version. So a successor whose
// commit replaces that very version knows that nothing runs, and waits for
// nobody.

// farewellLane is the end of a process in good order.
type farewellLane struct {
	*core
	head     *headLane
	identity *identityLane
	app      *appLane
	schedule *scheduleLane
	work     *workLane

	leaving bool   // the process is about to end; it starts nothing any more
	asked   string // the request for that, until it is answered
}

// isLeaving reports whether the process is about to end: it starts nothing any more.
func (fl *farewellLane) isLeaving() bool { return fl.leaving }

func (fl *farewellLane) request(ev Farewell) {
	fl.leaving, fl.asked = true, ev.Request
	fl.schedule.drop(&Refusal{Reason: "the agent is ending"})
	fl.work.yield()
}

// unsaid reports whether the head is still to say that the application
// has stopped.
func (fl *farewellLane) unsaid() bool {
	return fl.says() && fl.head.fresh() != nil && !fl.head.fresh().Stopped
}

// says reports whether the application has ended with this process. One that
// nothing here can stop may run on.
func (fl *farewellLane) says() bool {
	return fl.leaving && fl.app.is(appStopped) && !fl.app.isUnstopped()
}

// plan answers once everything is said that there is to say.
func (fl *farewellLane) plan() {
	if fl.asked == "" || !fl.app.is(appStopped) || fl.j.Pending != nil {
		return
	}
	if fl.identity.isLeading() && fl.identity.refusal() == "" && !fl.app.isUnstopped() && (fl.head.fresh() == nil || !fl.head.fresh().Stopped) {
		return
	}
	fl.answer(fl.asked, nil, nil)
	fl.asked = ""
}

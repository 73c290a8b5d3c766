package ha

import "time"

// appState is what is known of the application.
type appState string

const (
	appUnknown appState = ""
	appRunning appState = "running"
	appStopped appState = "stopped"
)

// appWanted says what the application should be doing; appUnknown leaves it as
// it is.
func (m *Machine) appWanted() appState {
	p := m.j.Promotion
	switch {
	case m.leaving,
		m.j.Demotion != nil && !m.j.Demotion.Acked,
		m.refused != "",
		m.handingOver() && !m.inBackup(),
		p != nil && (p.Phase != PhaseFinish || !p.Acked),
		m.j.Holder != nil,
		m.j.Role != RoleActive:
		return appStopped
	case m.fencedOff():
		return appStopped
	case m.handingOver():
		return appUnknown
	case m.override:
		return appRunning
	case !m.leading, m.j.Pending != nil && !m.isApp(appRunning):
		return appUnknown
	}
	return appRunning
}

// handingOver reports whether a handover keeps the application stopped.
func (m *Machine) handingOver() bool {
	return m.j.Handover != nil && m.j.Handover.Phase != HandoverDeclined
}

// handedUnseen reports whether this process would say that the application was handed
// over, and has not seen to its being stopped: since its journal was written the host
// may have been started again, or the journal put back.
func (m *Machine) handedUnseen() bool {
	hj := m.j.Handover
	return hj != nil && hj.Phase == HandoverSent && !m.isApp(appStopped)
}

// inBackup reports whether a handover waits for a backup that began before it.
// The application goes on meanwhile, for the backup may take long, and its
// hooks may need it.
func (m *Machine) inBackup() bool {
	return m.making != nil && m.j.Handover.Phase == HandoverStopping
}

// fencedOff reports, in strict mode, that the last confirmed renewal is so old
// that the application must be stopping now, so that it has stopped at TTL
// minus margin, when a successor may begin to count on it.
func (m *Machine) fencedOff() bool {
	at, strict := m.fenceAt()
	if !strict || m.override {
		return false
	}
	if !m.leading && !m.dated {
		// How old the last renewal of the process before is, nobody knows.
		return m.failing
	}
	return m.due(at)
}

// longAgo is a renewal for which no fencing lets an application run on.
const longAgo = -never / 2

// dateRenewal journals when the head that was confirmed last was sent. The
// caller saves.
func (m *Machine) dateRenewal() {
	m.confirmed, m.dated = m.sentAt, true
	m.j.Renewed = &Renewal{Boot: m.p.Boot, At: Duration(m.now.Boot - (m.t - m.sentAt))}
}

// recoverRenewal takes up how old the last renewal of the process before is: a
// bound that has passed while no agent ran holds at once, whether or not the
// bucket answers. After a reboot nobody knows for how long the host was down, so
// it has passed.
func (m *Machine) recoverRenewal() {
	r := m.j.Renewed
	if r == nil {
		return // by a version that did not note it
	}
	m.dated, m.confirmed = true, longAgo
	if age := m.now.Boot - r.At.std(); r.Boot == m.p.Boot && r.Boot != "" && age >= 0 {
		m.confirmed = m.t - age
	}
}

// fenceAt is when, in strict mode, an application must be stopping unless the
// head is renewed before. While a change of the fencing is pending, a successor
// may go by the one or by the other: the stricter bound holds.
func (m *Machine) fenceAt() (at instant, strict bool) {
	for _, f := range m.fencings() {
		if f.Mode != Strict {
			continue
		}
		if one := m.confirmed + (f.TTL - f.Margin - f.StopTimeout).std(); !strict || one < at {
			at, strict = one, true
		}
	}
	return at, strict
}

// fencings are those that may be in force of this active.
func (m *Machine) fencings() []Fencing {
	if len(m.j.Fencing) > 0 {
		return m.j.Fencing
	}
	return []Fencing{m.fencing()}
}

// appUntil is for how long the application may go on without another renewal,
// should this process fall silent; negative: without end.
func (m *Machine) appUntil() time.Duration {
	at, strict := m.fenceAt()
	if !strict || m.override {
		return -1
	}
	return max(0, at-m.t)
}

// planApp starts or stops the application.
func (m *Machine) planApp() {
	want := m.appWanted()
	if want == appUnknown || want == m.app {
		return
	}
	if m.appLane != 0 {
		if want == appStopped && m.appStarting {
			m.appStarting = false
			m.emit(Cancel{ID: m.appLane}) // a start that hangs must not hold up a stop
		}
		return
	}
	if want == m.appFailed && !m.due(m.appRetry) {
		return // a start that fails must not hold up a stop either
	}
	m.app = appUnknown
	m.appLane = m.expect(func(d Done) { m.appDone(want, d) })
	if want == appStopped {
		m.stopBegins()
		m.emit(StopApp{ID: m.appLane, Epoch: m.j.Epoch})
		return
	}
	m.appStarting = true
	var id string
	if m.head != nil && m.head.StartedFrom != nil {
		id = m.head.StartedFrom.ID
	}
	m.emit(StartApp{ID: m.appLane, Epoch: m.j.Epoch, Backup: id})
}

// isApp reports whether the application is known to be so.
func (m *Machine) isApp(state appState) bool { return m.app == state }

// forgetApp has the application stopped again, to be sure, whoever started it.
func (m *Machine) forgetApp() { m.app, m.override = appUnknown, false }

// endOverride ends an operator's word: the bucket says again what is to be.
func (m *Machine) endOverride() { m.override = false }

// hookRuns reports whether the application is being started or stopped.
func (m *Machine) hookRuns() bool { return m.appLane != 0 }

// hookEnded notes the end of a hook.
func (m *Machine) hookEnded(id uint64) {
	if id == m.appLane {
		m.appLane = 0
	}
}

// appFailsToStop reports whether the application was told to stop last, and did not.
func (m *Machine) appFailsToStop() bool { return m.appFailed == appStopped }

// doubtApp has the application stopped or started again, whatever is believed of
// it: somebody else may have done otherwise.
func (m *Machine) doubtApp() {
	m.app, m.appFailed = appUnknown, appUnknown
	m.appDoubt = m.appLane != 0 // what is under way began before
	m.changes++
}

func (m *Machine) appDone(want appState, d Done) {
	m.appStarting = false
	if m.appDoubt {
		m.appDoubt = false
		return
	}
	if d.Outcome == OK {
		m.app, m.appErr, m.appFailed, m.appWait = want, "", appUnknown, 0
		m.unstopped = d.Unstopped
		m.measureDowntime()
		if d.Unstopped {
			m.report(Info, "application", "nothing here can stop the application: whether it runs is not known")
			return
		}
		m.report(Info, "application", "the application is %s", want)
		return
	}
	if want != m.appFailed {
		m.appFailed, m.appWait = want, 0
	}
	m.appWait = min(max(time.Second, 2*m.appWait), 30*time.Second)
	m.appRetry = m.t + m.appWait
	if p := m.j.Promotion; p != nil && p.Phase == PhaseSwap && want == appStopped {
		m.abort("the application on this instance could not be stopped: %s", errText(d.Err))
	}
	if text := errText(d.Err); text != m.appErr {
		m.appErr = text
		m.report(Alarm, "application", "the application could not be brought to be %s (tried again): %s", want, text)
	}
}

// onStartAnyway starts the application of an active that cannot reach the
// bucket, because an operator says so.
func (m *Machine) onStartAnyway(ev StartAnyway) {
	switch {
	case m.j.Role != RoleActive || m.refused != "":
		m.refuse(ev.Request, "this instance is not the active: its application is not started")
	case m.handingOver() || m.j.Promotion != nil || m.j.Pending != nil && m.j.Pending.Commit:
		m.refuse(ev.Request, "a promotion or handover is under way: the application is not started")
	case m.leading && !m.failing:
		m.refuse(ev.Request, "the bucket can be used: there is nothing to override")
	default:
		m.override = true
		if m.j.Demotion != nil {
			m.j.Demotion = nil // what it writes from now on is in no salvage backup
			m.passes(stepDemotionEnded)
		}
		m.save(stepSeen)
		m.reportBy(ev.By, Alarm, "fencing", "%s starts the application without the bucket: another instance may have been promoted", ev.By)
		m.answer(ev.Request, nil, nil)
	}
}

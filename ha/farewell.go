package ha

// A process that ends in good order, with an application that ends with it, says
// so in the head. No process of this instance starts the application before it
// has claimed the head again, which replaces that version. So a successor whose
// commit replaces that very version knows that nothing runs, and waits for
// nobody.

func (m *Machine) onFarewell(ev Farewell) {
	m.leaving, m.farewell = true, ev.Request
	m.dropBackup(&Refusal{Reason: "the agent is ending"})
	m.yield()
}

// farewellUnsaid reports whether the head is still to say that the application
// has stopped.
func (m *Machine) farewellUnsaid() bool {
	return m.saysFarewell() && m.head != nil && !m.head.Stopped
}

// saysFarewell reports whether the application has ended with this process. One that
// nothing here can stop may run on.
func (m *Machine) saysFarewell() bool { return m.leaving && m.isApp(appStopped) && !m.unstopped }

// planFarewell answers once everything is said that there is to say.
func (m *Machine) planFarewell() {
	if m.farewell == "" || !m.isApp(appStopped) || m.j.Pending != nil {
		return
	}
	if m.leading && m.refused == "" && !m.unstopped && (m.head == nil || !m.head.Stopped) {
		return
	}
	m.answer(m.farewell, nil, nil)
	m.farewell = ""
}

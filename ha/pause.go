package ha

import "time"

// A pause of the schedule ends on this instance's own time line. That of the
// next process begins anew, and no clock tells how long there was none, but the
// wall clock. It is believed only to have shortened a pause: one that was set
// back does not keep a cluster without backups for longer than was asked for.

func (m *Machine) onSetPaused(ev SetPaused) {
	m.j.Paused, m.pauseEnd = clone(ev.Pause), never
	if p := m.j.Paused; p != nil && p.Until != nil {
		m.pauseEnd = m.t + p.Left.std()
	}
	m.save(stepPaused)
	m.answer(ev.Request, nil, nil)
}

// recoverPause goes on with the pause that the process before has left.
func (m *Machine) recoverPause() {
	m.pauseEnd = never
	if p := m.j.Paused; p != nil && p.Until != nil {
		m.pauseEnd = m.t + max(0, min(p.Left.std(), p.Until.Sub(m.now.Wall)))
	}
}

// keepPause notes how much of the pause is left.
func (m *Machine) keepPause() {
	if p := clone(m.j.Paused); p != nil && p.Until != nil {
		p.Left = Duration(max(0, m.pauseEnd-m.t))
		m.j.Paused = p
	}
}

// planPause ends a pause that is over.
func (m *Machine) planPause() {
	p := m.j.Paused
	if p == nil || p.Until == nil || !m.due(m.pauseEnd) {
		return
	}
	m.j.Paused = nil
	m.save(stepPaused)
	m.report(Info, "schedule", "the pause of the schedule by %s is over after %v: backups go on", p.By, m.now.Wall.Sub(p.Since).Round(time.Second))
}

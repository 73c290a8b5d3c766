package ha

// Sources are changed by the work lane, while nothing is pulled: no backup reads
// them meanwhile, and nothing is restored into them. What a crash
// in a promotion, a handover or a demotion leaves is settled with the sources
// that it began with.

func (m *Machine) onChangeSources(ev ChangeSources) {
	if m.reload != "" {
		m.refuse(m.reload, "a later change took its place")
	}
	m.reload = ev.Request
	m.changes++
}

func (m *Machine) mayReload() bool {
	return m.reload != "" && m.j.Promotion == nil && m.j.Demotion == nil && m.j.Handover == nil
}

func (m *Machine) changeSources() {
	request := m.reload
	id := m.begin("reload", func(d Done) {
		if m.yielding {
			return // to a promotion; it is done after that
		}
		if d.Outcome == OK {
			m.rehearseAfresh()
		}
		m.answer(request, nil, d.Err)
		if m.reload == request {
			m.reload = ""
		}
	})
	m.emit(UseSources{ID: id})
}

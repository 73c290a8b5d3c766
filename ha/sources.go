package ha

// Sources are changed by the work lane, while nothing is pulled: no backup reads
// them meanwhile, and nothing is restored into them. What a crash
// in a promotion, a handover or a demotion leaves is settled with the sources
// that it began with.

// sourcesLane is the change of the sources that is asked for.
type sourcesLane struct {
	*core
	work      *workLane
	rehearsal *rehearsalLane

	asked string // the request for a change of sources
}

func (sl *sourcesLane) request(ev ChangeSources) {
	if sl.asked != "" {
		sl.refuse(sl.asked, "a later change took its place")
	}
	sl.asked = ev.Request
	sl.changed()
}

func (sl *sourcesLane) mayChange() bool {
	return sl.asked != "" && sl.j.Promotion == nil && sl.j.Demotion == nil && sl.j.Handover == nil
}

func (sl *sourcesLane) change() {
	request := sl.asked
	id := sl.work.begin("reload", func(d Done) {
		if sl.work.isYielding() {
			return // to a promotion; it is done after that
		}
		if d.Outcome == OK {
			sl.rehearsal.afresh()
		}
		sl.answer(request, nil, d.Err)
		if sl.asked == request {
			sl.asked = ""
		}
	})
	sl.emit(UseSources{ID: id})
}

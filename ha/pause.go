package ha

import "time"

// A pause of the schedule ends on this instance's own time line. That of the
// next process begins anew, and no clock tells how long there was none, but the
// wall clock. It is believed only to have shortened a pause: one that was set
// back does not keep a cluster without backups for longer than was asked for.

func (sl *scheduleLane) setPaused(ev SetPaused) {
	sl.j.Paused, sl.pauseEnd = clone(ev.Pause), never
	if p := sl.j.Paused; p != nil && p.Until != nil {
		sl.pauseEnd = sl.t + p.Left.std()
	}
	sl.save(stepPaused)
	sl.answer(ev.Request, nil, nil)
}

// recoverPause goes on with the pause that the process before has left.
func (sl *scheduleLane) recoverPause() {
	sl.pauseEnd = never
	if p := sl.j.Paused; p != nil && p.Until != nil {
		sl.pauseEnd = sl.t + max(0, min(p.Left.std(), p.Until.Sub(sl.now.Wall)))
	}
}

// keepPause notes how much of the pause is left.
func (sl *scheduleLane) keepPause() {
	if p := clone(sl.j.Paused); p != nil && p.Until != nil {
		p.Left = Duration(max(0, sl.pauseEnd-sl.t))
		sl.j.Paused = p
	}
}

// pauseLeft is how long a pause lasts; negative: it does not end by itself, or there is
// none.
func (sl *scheduleLane) pauseLeft() time.Duration {
	if p := sl.j.Paused; p == nil || p.Until == nil {
		return -1
	}
	return max(0, sl.pauseEnd-sl.t)
}

// planPause ends a pause that is over.
func (sl *scheduleLane) planPause() {
	p := sl.j.Paused
	if p == nil || p.Until == nil || !sl.due(sl.pauseEnd) {
		return
	}
	sl.j.Paused = nil
	sl.save(stepPaused)
	sl.report(Info, "schedule", "the pause of the schedule by %s is over after %v: backups go on", p.By, sl.now.Wall.Sub(p.Since).Round(time.Second))
}

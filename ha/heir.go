package ha

// An heir goes on as the active from a bucket that was put back. Somebody else may
// have led on the older head that the bucket showed, and may not be reachable: its
// application runs until it learns that it was replaced, or until its time is over.
// So the heir's application waits as that of a failover does.

// Holder is who was the active by a head that a recovery has replaced, where nobody
// knows that its application does not run.
type Holder struct {
	Name    string  `json:"name"`
	Fencing Fencing `json:"fencing"` // which it goes by
}

// holder is whoever may run an application on an older head that another instance
// goes on from; nil: nobody. One that knows of a later epoch has been replaced before.
func holder(shown, next *Head, all []Sighting) *Holder {
	if shown.AtRest() || shown.Active.Name == next.Active.Name {
		return nil
	}
	for _, s := range all {
		if s.Instance == shown.Active.Name && s.Shown != nil && !s.Leading && s.Seen.Epoch > shown.Epoch {
			return nil
		}
	}
	return &Holder{Name: shown.Active.Name, Fencing: shown.Fencing}
}

// planHolder lets the application of an heir start once the holder's has stopped in
// any case. A process that was started meanwhile does not know for how long that was
// waited for, and waits again.
func (rl *recoveryLane) planHolder() {
	w := rl.j.Holder
	if w == nil {
		return
	}
	if rl.heirSince == never {
		rl.heirSince = rl.t
	}
	wait := 2*rl.p.Poll + w.Fencing.StopTimeout.std()
	if w.Fencing.Mode == Strict {
		wait = w.Fencing.TTL.std() + w.Fencing.Margin.std()
	}
	if !rl.due(rl.heirSince + wait) {
		return
	}
	rl.j.Holder = nil
	rl.save(stepSeen)
	rl.report(Info, "recovery", "the application of %s has stopped by now, if it knows its time: this one is started", w.Name)
}

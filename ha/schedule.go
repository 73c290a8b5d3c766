package ha

import (
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// scheduleLane is the backups of an active: the next one, and the one that no head names yet.
type scheduleLane struct {
	*core
	head     *headLane
	control  *controlLane
	identity *identityLane
	app      *appLane
	work     *workLane
	handover *handoverLane
	streams  *streamsLane

	frequency time.Duration
	next      instant
	pauseEnd  instant     // when the pause of the schedule is over; never: somebody resumes it
	want      *wish       // a backup asked for
	making    *wish       // the backup being made
	publish   *backup.Ref // made, not yet named by the head
	config    *SetConfig  // to be put into force
	err       string
	lastStart instant // when the last backup of this process began; never: none has
}

// trouble is why the last backup failed.
func (sl *scheduleLane) trouble() string { return sl.err }

// wish is a backup to be made, and the requests that share it.
type wish struct {
	trigger    backup.Trigger
	by, reason string
	now        bool // an operator asks: what failed before is no reason to wait
	requests   []string
}

func (sl *scheduleLane) request(ev RequestBackup) {
	if sl.j.Role != RoleActive || sl.identity.refusal() != "" {
		sl.refuse(ev.Request, "this instance is not the active: backups are made by %s", sl.head.activeName())
		return
	}
	if sl.want == nil {
		sl.want = &wish{trigger: ev.Trigger, by: ev.By, reason: ev.Reason}
	}
	sl.want.now = sl.want.now || ev.Trigger == backup.Requested
	sl.want.requests = append(sl.want.requests, ev.Request)
}

// plan starts the backup that is due, if any. One is made at a time, and
// none before the one before is published.
func (sl *scheduleLane) plan() {
	if !sl.identity.isLeading() || sl.identity.refusal() != "" || sl.publish != nil || sl.handover.underWay() || sl.j.Promotion != nil {
		return
	}
	var w *wish
	switch {
	case sl.j.First && sl.app.isStarting() && (sl.want == nil || !sl.want.now):
		return // an application that never ran here makes its state when it starts
	case sl.j.First:
		w = &wish{trigger: backup.First}
		if sl.want != nil {
			w.requests, w.by, w.reason, w.now = sl.want.requests, sl.want.by, sl.want.reason, sl.want.now
		}
	case sl.want != nil:
		w = sl.want
	case sl.j.Paused == nil && sl.frequency > 0 && sl.due(sl.next):
		w = &wish{trigger: backup.Scheduled}
	case sl.streams.needsBackup():
		w = &wish{trigger: backup.Scheduled, reason: "for a stream that no backup leads up to"}
	default:
		return
	}
	if !w.now && !sl.work.mayTry() {
		return
	}
	sl.want = nil
	sl.lastStart = sl.t
	sl.next = sl.t + sl.frequency
	if sl.frequency == 0 {
		sl.next = never // until the configuration is known
	}
	sl.start(w, func(d Done) {
		if d.Outcome == OK {
			sl.publish = d.Ref
			sl.control.made()
			sl.work.succeeded()
			return
		}
		sl.making = nil
		sl.err = errText(d.Err)
		sl.answerAll(w, nil, d.Err)
		sl.next = min(sl.next, sl.t+time.Minute)
		sl.work.failed("backup", d.Err)
	})
}

// start makes a backup on top of the head's newest.
func (sl *scheduleLane) start(w *wish, then func(Done)) {
	sl.making = w
	sl.streams.backupBegins()
	h := sl.head.known()
	id := sl.work.begin("backup", func(d Done) {
		if sl.making != w {
			return // superseded while it was made: answered already
		}
		then(d)
	})
	sl.emit(MakeBackup{
		ID: id, Epoch: sl.j.Epoch, Sequence: h.NextSequence(), Previous: h.Newest,
		Trigger: w.trigger, By: w.by, Reason: w.reason, First: sl.j.First, Config: h.Config,
	})
}

// published follows up on a backup that the confirmed head names.
func (sl *scheduleLane) published() {
	ref := sl.publish
	by, why := "", ""
	if w := sl.making; w != nil {
		sl.answerAll(w, ref, nil)
		if by = w.by; w.reason != "" {
			why = " (" + w.reason + ")"
		}
	}
	sl.publish, sl.making = nil, nil
	sl.err = ""
	if sl.j.First {
		sl.j.First = false
		sl.save(stepFirst)
	}
	sl.reportBy(by, Info, "backup", "backup %s is published%s", ref.ID, why)
	sl.emit(Notify{Ref: ref})
}

// unpublished is a backup that no head names yet; nil: there is none.
func (sl *scheduleLane) unpublished() *backup.Ref { return sl.publish }

// newConfig is a configuration that no head names yet; nil: there is none.
func (sl *scheduleLane) newConfig() *SetConfig { return sl.config }

// headNames follows up on what a confirmed head is the first to name.
func (sl *scheduleLane) headNames(h *Head) {
	if sl.config != nil && h.Config == sl.config.Digest {
		sl.setFrequency(sl.config.Frequency)
		sl.answer(sl.config.Request, nil, nil)
		sl.report(Info, "config", "configuration %s is in force", short(h.Config))
		sl.config = nil
	}
	if sl.publish != nil && h.Newest != nil && h.Newest.ID == sl.publish.ID {
		sl.published()
	}
}

// isMaking reports whether a backup is being made, or waits to be named.
func (sl *scheduleLane) isMaking() bool { return sl.making != nil }

// forgetMaking ends a backup that is not the schedule's: a handover's.
func (sl *scheduleLane) forgetMaking() { sl.making = nil }

// backupNow has the next backup made at once.
func (sl *scheduleLane) backupNow() { sl.next = sl.t }

// forgetError forgets why the last backup failed.
func (sl *scheduleLane) forgetError() { sl.err = "" }

// makeAgain has a backup made again that the bucket has lost.
func (sl *scheduleLane) makeAgain() {
	w := sl.making
	sl.making, sl.publish = nil, nil
	switch {
	case w == nil:
	case sl.want == nil:
		sl.want = w
	default:
		sl.want.requests = append(sl.want.requests, w.requests...)
	}
}

// untilNext is how long it is to the next scheduled backup; negative: none is planned.
func (sl *scheduleLane) untilNext() time.Duration {
	if !sl.identity.isLeading() || sl.frequency == 0 || sl.j.Paused != nil {
		return -1
	}
	return max(0, sl.next-sl.t)
}

// setFrequency changes the replication interval. A shorter one brings the next
// backup forward.
func (sl *scheduleLane) setFrequency(f Duration) {
	if sl.frequency = f.std(); sl.lastStart != never {
		sl.next = min(sl.next, sl.lastStart+sl.frequency)
	}
}

func (sl *scheduleLane) setConfig(ev SetConfig) {
	switch {
	case sl.j.Role != RoleActive || sl.identity.refusal() != "" || !sl.identity.isLeading():
		sl.refuse(ev.Request, "this instance is not the active: the configuration is changed on %s", sl.head.activeName())
	case sl.head.untrueStrict(ev.Fencing):
		sl.refuse(ev.Request, "%s", RefuseStrict(sl.p.Self.Name))
	case sl.config != nil:
		sl.refuse(ev.Request, "another change of the configuration is under way")
	default:
		sl.config = &ev
	}
}

func (sl *scheduleLane) drop(err error) {
	if sl.making != nil {
		sl.work.cancel()
	}
	for _, w := range []*wish{sl.want, sl.making} {
		if w != nil {
			sl.answerAll(w, nil, err)
		}
	}
	sl.want, sl.making, sl.publish = nil, nil, nil
	if sl.config != nil {
		sl.answer(sl.config.Request, nil, err)
		sl.config = nil
	}
}

func (sl *scheduleLane) answerAll(w *wish, ref *backup.Ref, err error) {
	for _, r := range w.requests {
		sl.answer(r, ref, err)
	}
	w.requests = nil
}

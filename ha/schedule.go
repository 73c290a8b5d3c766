package ha

import (
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// wish is a backup to be made, and the requests that share it.
type wish struct {
	trigger    backup.Trigger
	by, reason string
	now        bool // an operator asks: what failed before is no reason to wait
	requests   []string
}

func (m *Machine) onRequestBackup(ev RequestBackup) {
	if m.j.Role != RoleActive || m.refused != "" {
		m.refuse(ev.Request, "this instance is not the active: backups are made by %s", m.activeName())
		return
	}
	if m.want == nil {
		m.want = &wish{trigger: ev.Trigger, by: ev.By, reason: ev.Reason}
	}
	m.want.now = m.want.now || ev.Trigger == backup.Requested
	m.want.requests = append(m.want.requests, ev.Request)
}

func (m *Machine) activeName() string {
	if h := m.knownHead(); h != nil {
		return h.Active.Name
	}
	return "the active"
}

// planBackup starts the backup that is due, if any. One is made at a time, and
// none before the one before is published.
func (m *Machine) planBackup() {
	if !m.leading || m.refused != "" || m.publish != nil || m.handingOver() || m.j.Promotion != nil {
		return
	}
	var w *wish
	switch {
	case m.j.First:
		w = &wish{trigger: backup.First}
		if m.want != nil {
			w.requests, w.by, w.reason, w.now = m.want.requests, m.want.by, m.want.reason, m.want.now
		}
	case m.want != nil:
		w = m.want
	case m.j.Paused == nil && m.frequency > 0 && m.due(m.nextBackup):
		w = &wish{trigger: backup.Scheduled}
	default:
		return
	}
	if !w.now && !m.workDue() {
		return
	}
	m.want = nil
	m.lastStart = m.t
	m.nextBackup = m.t + m.frequency
	if m.frequency == 0 {
		m.nextBackup = never // until the configuration is known
	}
	m.startBackup(w, func(d Done) {
		if d.Outcome == OK {
			m.publish = d.Ref
			m.made()
			m.workOK()
			return
		}
		m.making = nil
		m.backupErr = errText(d.Err)
		m.answerAll(w, nil, d.Err)
		m.nextBackup = min(m.nextBackup, m.t+time.Minute)
		m.workFailed("backup", d.Err)
	})
}

// startBackup makes a backup on top of the head's newest.
func (m *Machine) startBackup(w *wish, then func(Done)) {
	m.making = w
	h := m.knownHead()
	id := m.begin("backup", func(d Done) {
		if m.making != w {
			return // superseded while it was made: answered already
		}
		then(d)
	})
	m.emit(MakeBackup{
		ID: id, Epoch: m.j.Epoch, Sequence: h.NextSequence(), Previous: h.Newest,
		Trigger: w.trigger, By: w.by, Reason: w.reason, First: m.j.First, Config: h.Config,
	})
}

// published follows up on a backup that the confirmed head names.
func (m *Machine) published() {
	ref := m.publish
	by, why := "", ""
	if w := m.making; w != nil {
		m.answerAll(w, ref, nil)
		if by = w.by; w.reason != "" {
			why = " (" + w.reason + ")"
		}
	}
	m.publish, m.making = nil, nil
	m.backupErr = ""
	if m.j.First {
		m.j.First = false
		m.save(stepFirst)
	}
	m.reportBy(by, Info, "backup", "backup %s is published%s", ref.ID, why)
	m.emit(Notify{Ref: ref})
}

// unpublished is a backup that no head names yet; nil: there is none.
func (m *Machine) unpublished() *backup.Ref { return m.publish }

// newConfig is a configuration that no head names yet; nil: there is none.
func (m *Machine) newConfig() *SetConfig { return m.config }

// headNames follows up on what a confirmed head is the first to name.
func (m *Machine) headNames(h *Head) {
	if m.config != nil && h.Config == m.config.Digest {
		m.setFrequency(m.config.Frequency)
		m.answer(m.config.Request, nil, nil)
		m.report(Info, "config", "configuration %s is in force", short(h.Config))
		m.config = nil
	}
	if m.publish != nil && h.Newest != nil && h.Newest.ID == m.publish.ID {
		m.published()
	}
}

// isMaking reports whether a backup is being made, or waits to be named.
func (m *Machine) isMaking() bool { return m.making != nil }

// forgetMaking ends a backup that is not the schedule's: a handover's.
func (m *Machine) forgetMaking() { m.making = nil }

// backupNow has the next backup made at once.
func (m *Machine) backupNow() { m.nextBackup = m.t }

// forgetBackupError forgets why the last backup failed.
func (m *Machine) forgetBackupError() { m.backupErr = "" }

// makeAgain has a backup made again that the bucket has lost.
func (m *Machine) makeAgain() {
	w := m.making
	m.making, m.publish = nil, nil
	switch {
	case w == nil:
	case m.want == nil:
		m.want = w
	default:
		m.want.requests = append(m.want.requests, w.requests...)
	}
}

// setFrequency changes the replication interval. A shorter one brings the next
// backup forward.
func (m *Machine) setFrequency(f Duration) {
	if m.frequency = f.std(); m.lastStart != never {
		m.nextBackup = min(m.nextBackup, m.lastStart+m.frequency)
	}
}

func (m *Machine) onSetConfig(ev SetConfig) {
	switch {
	case m.j.Role != RoleActive || m.refused != "" || !m.leading:
		m.refuse(ev.Request, "this instance is not the active: the configuration is changed on %s", m.activeName())
	case m.untrueStrict(ev.Fencing):
		m.refuse(ev.Request, "%s", RefuseStrict(m.p.Self.Name))
	case m.config != nil:
		m.refuse(ev.Request, "another change of the configuration is under way")
	default:
		m.config = &ev
	}
}

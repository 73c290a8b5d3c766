package ha

import "time"

// A handover is the active's half of a switchover. It begins when a verified
// lease asks for one; a backup under way ends; the application stops; the final
// backup is made and published in the very head that hands over. From the
// moment that this head is sent the application stays stopped until a head that
// takes back is confirmed.

// citeWindow is how many revisions old a head may be that a lease cites: an
// old lease, put back by someone who can write to the bucket, cites an older
// one.
const citeWindow = 32

// lookAtLease follows what the lease asks of the active.
func (m *Machine) lookAtLease() {
	l := m.seenLease()
	asked := l != nil && l.Purpose == ModeSwitchover && l.Holder.Name != m.p.Self.Name && !m.leaseFree()
	hj := m.j.Handover
	switch {
	case hj != nil && !(asked && l.ID == hj.Lease):
		m.endHandover()
	case hj == nil && asked && m.j.Promotion == nil && l.Epoch == m.j.Epoch && l.Rev > m.j.Floor && l.Rev <= m.head.Rev && m.head.Rev-l.Rev <= citeWindow:
		m.j.Handover = &HandoverJournal{Lease: l.ID, To: l.Holder, Phase: HandoverStopping, Word: l.StoppedOnWordOf}
		m.stopSince = never
		m.save(HandoverStopping.step())
		m.report(Info, "handover", "%s asks to take over: stopping the application", l.Holder.Name)
	}
}

// stopBegins notes when the application began to stop for a handover.
func (m *Machine) stopBegins() {
	if hj := m.j.Handover; hj != nil && hj.Phase == HandoverStopping && m.stopSince == never {
		m.stopSince = m.t
	}
}

// endHandover follows a candidate that gave up or is gone.
func (m *Machine) endHandover() {
	hj := m.j.Handover
	switch hj.Phase {
	case HandoverSent:
		hj.Phase = HandoverReturning
		m.save(hj.Phase.step())
		m.report(Warn, "handover", "%s did not take over: taking back", hj.To.Name)
	case HandoverReturning:
	default:
		if hj.Phase == HandoverFinal {
			m.cancelWork()
		}
		m.report(Info, "handover", "%s no longer asks to take over", hj.To.Name)
		m.dropHandover()
	}
}

func (m *Machine) dropHandover() {
	if m.j.Handover.Phase == HandoverFinal {
		m.forgetMaking()
	}
	m.j.Handover = nil
	m.j.Floor = m.head.Rev
	m.save(stepHandoverEnded)
}

// handoverSaid is what the head is to say of the handover.
func (m *Machine) handoverSaid() *Handover {
	hj := m.j.Handover
	if hj == nil || hj.Phase == HandoverReturning {
		return nil
	}
	h := &Handover{To: hj.To, Lease: hj.Lease, State: Preparing}
	h.Waits, h.Left = m.handoverWaits()
	switch {
	case hj.Phase == HandoverDeclined:
		h.State, h.Reason = Declined, hj.Reason
	case hj.Final != nil:
		h.State = Handed
		if hj.Unstopped {
			h.Unstopped, h.OnWordOf = true, hj.Word
		}
		if m.stopSince != never {
			h.StoppedFor = Duration(m.t - m.stopSince)
		}
	}
	return h
}

// maxWaits bounds what a head says of a hook's error.
const maxWaits = 300

// handoverWaits says what a handover waits for, and for how much longer at most;
// 0: that is not known.
func (m *Machine) handoverWaits() (string, Duration) {
	hj := m.j.Handover
	switch {
	case hj.Final != nil, hj.Phase == HandoverDeclined:
		return "", 0
	case hj.Phase == HandoverFinal, m.isApp(appStopped):
		return "its final backup", 0
	case m.inBackup():
		return "the end of a backup that had begun before; its application runs on meanwhile", 0
	case m.appErr == "" || !m.appFailsToStop():
		return "its application to stop", 0
	}
	failure := []rune(m.appErr)
	if len(failure) > maxWaits {
		failure = append(failure[:maxWaits], '…')
	}
	return "its application to stop, which has failed and is tried again: " + string(failure), Duration(max(0, m.stopSince+m.stopPatience()-m.t))
}

// stopPatience is for how long an application that does not stop is told to,
// before a handover is declined.
func (m *Machine) stopPatience() time.Duration {
	return max(time.Minute, 3*m.fencing().StopTimeout.std())
}

// planHandover declines a handover when nothing here can stop the application, and
// nobody has given their word that it is stopped; or when it has not stopped for too
// long, and no attempt is under way: it runs on, or runs again.
func (m *Machine) planHandover() {
	hj := m.j.Handover
	if hj != nil && hj.Phase == HandoverStopping && hj.Word == "" && (m.p.Unstoppable || m.isApp(appStopped) && m.unstopped) {
		m.decline(RefuseSwitchover(m.p.Self.Name))
		return
	}
	if hj == nil || hj.Phase != HandoverStopping || m.hookRuns() || m.isApp(appStopped) || !m.appFailsToStop() ||
		m.stopSince == never || !m.due(m.stopSince+m.stopPatience()) {
		return
	}
	m.decline("its application has not stopped for " + m.stopPatience().String() + ": " + m.appErr)
}

// decline tells the candidate why there is no handover.
func (m *Machine) decline(reason string) {
	hj := m.j.Handover
	hj.Phase, hj.Reason = HandoverDeclined, reason
	m.save(hj.Phase.step())
	m.report(Alarm, "handover", "not handing over: %s", reason)
}

func (m *Machine) handoverUnsaid() bool {
	return !m.handoverSaid().says(m.head.Handover)
}

// finalBackup makes the last backup before the head is handed over, with the
// application stopped.
func (m *Machine) finalBackup() {
	hj := m.j.Handover
	hj.Phase, hj.Unstopped = HandoverFinal, m.unstopped
	if hj.Unstopped {
		m.reportBy(hj.Word, Warn, "handover", "nothing here can stop the application: it is stopped on the word of %s, and nobody has looked", hj.Word)
	}
	m.save(hj.Phase.step())
	lease := hj.Lease
	m.startBackup(&wish{trigger: "switchover", reason: "handover to " + hj.To.Name}, func(d Done) {
		hj := m.j.Handover
		if hj == nil || hj.Lease != lease {
			return
		}
		if d.Outcome != OK {
			m.forgetMaking()
			m.decline("the final backup failed: " + errText(d.Err))
			return
		}
		hj.Final = d.Ref
		m.made()
		m.save(hj.Phase.step())
	})
}

// handoverConfirmed follows up on a confirmed head.
func (m *Machine) handoverConfirmed() {
	hj := m.j.Handover
	if hj == nil {
		return
	}
	switch said := m.head.Handover; {
	case hj.Phase == HandoverSent && said != nil && said.State == Handed:
		if m.isMaking() {
			m.forgetMaking()
			m.report(Info, "handover", "handed over to %s with backup %s; the application stays stopped", hj.To.Name, hj.Final.ID)
			m.emit(Notify{Ref: hj.Final})
		}
	case hj.Phase == HandoverReturning && said == nil:
		m.forgetMaking()
		m.report(Info, "handover", "taken back: this instance goes on as the active")
		m.dropHandover()
	}
}

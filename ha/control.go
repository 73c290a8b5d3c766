package ha

import (
	"errors"
	"slices"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
)

// The control lane is this instance's traffic with the control objects, one
// request at a time. planControl picks the next one.
func (m *Machine) planControl() {
	if !m.mayAsk() {
		return
	}
	switch {
	case m.recovering != nil:
		m.planRecovery()
	case m.head == nil:
		m.readHead(nil)
	case m.frozen():
		m.planFrozen()
	case m.j.Pending != nil:
		m.resolve()
	case m.renewalDue():
		m.writeHead()
	case m.planUntold():
	case m.planMissed():
	case m.planPromotion():
	case m.planDemotion():
	case m.j.Role == RoleActive && m.refused == "":
		m.planActive()
	default:
		m.planStandby()
	}
}

// mayAsk reports whether a request may be sent now.
func (m *Machine) mayAsk() bool { return m.control == 0 && m.due(m.retryAt) }

// ask makes room for the answer to a request, which is the only one under way.
func (m *Machine) ask(then func(Done)) uint64 {
	m.control = m.expect(then)
	return m.control
}

// requestEnded notes the end of a request.
func (m *Machine) requestEnded(id uint64) {
	if id == m.control {
		m.control = 0
	}
}

// askAtOnce has the next request wait for nothing.
func (m *Machine) askAtOnce() { m.retryAt = 0 }

// holdOff has the next request wait, longer each time.
func (m *Machine) holdOff() {
	m.retryWait = min(max(retryFirst, 2*m.retryWait), m.p.Poll)
	m.retryAt = m.t + m.retryWait
}

// beginsToFail notes that the bucket cannot be used, and reports whether that is new.
func (m *Machine) beginsToFail() bool {
	if m.failing {
		return false
	}
	m.failing, m.failSince = true, m.t
	return true
}

// read asks for a control object.
func (m *Machine) read(kind Kind, key string, unless blobstore.Token, then func(Done)) {
	id := m.ask(func(d Done) {
		if d.Outcome == NotModified {
			d.Token = unless
		}
		switch {
		case d.Outcome == Unknown:
			m.storeFailed(d.Err)
		case m.contradicts(key, d):
			m.storeFailed(&staleError{key})
		case kind != KindHead:
			m.storeAnswered()
		}
		then(d)
	})
	m.emit(Read{ID: id, Kind: kind, Key: key, IfChanged: unless})
}

// write sends a control object.
func (m *Machine) write(step WriteStep, kind Kind, key string, object any, cond blobstore.Condition, then func(Done)) {
	id := m.ask(func(d Done) {
		m.noteWrite(key, cond, d.Outcome)
		if d.Outcome == OK || d.Outcome == Lost {
			m.storeAnswered()
		} else {
			m.storeFailed(d.Err)
		}
		then(d)
	})
	m.emit(Write{ID: id, Step: step, Kind: kind, Key: key, Object: object, Cond: cond})
}

// storeFailed follows a request that has failed.
func (m *Machine) storeFailed(err error) {
	m.holdOff()
	if errors.Is(err, ErrJournal) {
		return // the store was not asked
	}
	m.failure = failureText(err)
	if m.beginsToFail() {
		m.report(Alarm, "bucket", "the bucket cannot be used: %v", err)
	}
}

// storeAnswered ends what was wrong with the bucket, unless the head cannot be used,
// or the bucket shows older versions.
func (m *Machine) storeAnswered() {
	if m.showsStale() {
		return
	}
	m.retryWait, m.retryAt = 0, 0
	if m.failing && m.headUsable() {
		m.failing = false
		m.report(Info, "bucket", "the bucket can be used again after %v", m.t-m.failSince)
	}
}

// readHead reads the head if it has changed, takes it in, and goes on.
func (m *Machine) readHead(then func()) {
	m.polled()
	var unless blobstore.Token
	if m.head != nil {
		unless = m.headToken
	}
	m.read(KindHead, HeadKey, unless, func(d Done) {
		switch d.Outcome {
		case OK:
			if !m.adopt(d.Object.(*Head), d.Token) {
				return
			}
		case NotModified:
		case Missing:
			m.headTrouble("the bucket has no head.json, though this cluster exists: it was deleted, or this is another bucket; nothing is started or promoted until it is back (restore the object's last version)")
			return
		case Unverified:
			m.headTrouble("head.json cannot be verified: " + errText(d.Err))
			return
		default:
			return
		}
		m.headIsUsable()
		if then != nil {
			then()
		}
	})
}

// headTrouble is an unusable head: an unreachable bucket with an alarm of its
// own.
func (m *Machine) headTrouble(text string) {
	m.holdOff()
	m.beginsToFail()
	if m.headErr != text {
		m.headErr = text
		m.report(Alarm, "head", "%s", text)
	}
}

// headUsable reports whether nothing is wrong with the head itself.
func (m *Machine) headUsable() bool { return m.headErr == "" }

// headIsUsable ends what was wrong with the head.
func (m *Machine) headIsUsable() {
	m.headErr = ""
	m.storeAnswered()
}

// adopt takes in a head that was read. It reports false for a head that is
// older than one already seen.
func (m *Machine) adopt(h *Head, token blobstore.Token) bool {
	pos, seen := h.Position(), m.j.Seen
	if h.IsOlder(seen) {
		m.older = older{h, token}
		m.head = nil
		m.headTrouble(OlderText(h, seen))
		return false
	}
	m.older = older{}
	if m.headToken != token {
		m.alive = m.alive || m.headToken != ""
		m.headSince = m.t
	}
	m.setHead(h, token)
	if seen.before(pos) {
		m.noteMissed(seen.Epoch, h.Epoch)
		if r := h.Recovery; r != nil && !m.j.SeenHead.after(r) {
			m.j.Marked = min(m.j.Marked, r.Epoch-1) // markers of a history that is lost
		}
		m.j.Seen, m.j.SeenHead = pos, h
		m.save(stepSeen)
	}
	m.judge()
	return true
}

// wrote takes in a head of this instance's own.
func (m *Machine) wrote(h *Head, token blobstore.Token) {
	m.setHead(h, token)
	m.headSince = m.t
}

// forgetHead has the head read again before anything else.
func (m *Machine) forgetHead() { m.head = nil }

func (m *Machine) setHead(h *Head, token blobstore.Token) {
	m.head, m.headToken, m.lastHead = h, token, h
}

// writeHead sends the head as this instance wants it to be. Every attempt is
// journalled first, with the version that it replaces and its nonce.
func (m *Machine) writeHead() {
	commit := m.j.Promotion != nil && m.j.Promotion.Phase == PhaseCommit
	if !commit && (m.handedUnseen() || m.waitedUnnamed(m.unnamed(), m.unnamedLost)) {
		return
	}
	var (
		h    *Head
		step WriteStep
		why  JournalStep
	)
	if commit {
		h, step, why = m.commitHead(), stepHeadCommit, stepCommit
	} else {
		h, step, why = m.activeHead(), m.headSays(), stepHead
	}
	h.Format, h.Cluster = Format, m.p.Cluster
	h.Rev = m.head.Rev + 1
	h.Active = m.p.Self
	h.Time = m.now.Wall
	if m.j.Pending == nil {
		m.j.Pending = &Pending{Token: string(m.headToken), Commit: commit}
		m.sentAt, m.attempts = m.t, Attempts{}
	}
	h.Nonce = m.attempts.next(m.random)
	m.j.Pending.add(h.Nonce)
	m.j.sayFencing(m.head.Fencing, h.Fencing)
	if hj := m.j.Handover; hj != nil && h.Handover != nil && h.Handover.State == Handed {
		if hj.Phase != HandoverSent {
			hj.Phase = HandoverSent
			m.passes(hj.Phase.step())
		}
	}
	m.save(why)
	m.polled()
	m.write(step, KindHead, HeadKey, h, blobstore.IfMatch(m.headToken), func(d Done) {
		switch d.Outcome {
		case OK:
			m.wrote(h, d.Token)
			m.settle()
		case Lost:
			m.forgetHead() // somebody replaced it, perhaps an earlier attempt of ours: read and compare nonces
		case Failed:
			m.forgetAttempt(h.Nonce)
			m.lookForMarker()
		default:
			m.lookForMarker()
		}
	})
}

// forgetAttempt drops the nonce of an attempt that has written nothing, and never
// will. So an outage in which nothing reaches the store, or access is denied,
// does not fill the journal, however long it is. Those whose outcome is not
// known stay: each may yet land.
func (m *Machine) forgetAttempt(nonce string) {
	p := m.j.Pending
	if p == nil {
		return
	}
	p.Nonces = slices.DeleteFunc(slices.Clone(p.Nonces), func(n string) bool { return n == nonce })
	if len(p.Nonces) == 0 && len(p.Earlier) == 0 {
		m.j.Pending = nil
	}
}

// resolve finds out what became of writes whose outcome is unknown. While the
// version that they replace is still there, the first may yet land; so another
// is written against it, until it has been replaced. Then the nonce decides.
func (m *Machine) resolve() {
	switch p := m.j.Pending; {
	case p.has(m.head.Nonce):
		m.settle()
	case string(m.headToken) == p.Token:
		m.writeHead()
	case p.Commit && m.head.Recovery != nil && p.has(m.head.Recovery.Over.Nonce):
		// It had landed before the bucket was put back: the newest head ever seen.
		m.committed(m.j.Promotion.Epoch + 1)
		m.inheritOrJudge()
	case m.heir(m.head):
		m.inherit(m.head)
	case p.Commit && m.head.Epoch > m.j.Promotion.Epoch+1:
		m.lookBack()
	default:
		m.j.Pending = nil
		m.save(stepSettled)
		if p.Commit {
			m.commitLost()
		}
		m.judge()
	}
}

// settle takes in that the present head is one of this instance's own.
func (m *Machine) settle() {
	p := m.j.Pending
	mine := m.head.Active.Incarnation == m.p.Self.Incarnation
	m.j.Pending = nil
	pos := Position{m.head.Epoch, m.head.Rev, m.head.Nonce}
	m.j.Last, m.j.Seen, m.j.SeenHead = pos, pos, m.head
	m.j.Fencing = []Fencing{m.head.Fencing}
	m.j.Demotion = nil // of a process that was refused: it is the true one after all
	m.headIsUsable()
	if p != nil && p.Commit {
		m.committed(m.head.Epoch)
	}
	if mine {
		m.dateRenewal()
	}
	m.save(stepSettled)
	if !mine {
		return // a write of the process before this one: claim it first
	}
	if !m.leading {
		m.leads()
		m.endOverride()
		m.backupNow()
		m.report(Info, "role", "active in epoch %d", m.head.Epoch)
	}
	m.pollAt(m.confirmed + m.p.Poll)
	m.headConfirmed()
}

// headConfirmed follows up on what the confirmed head says.
func (m *Machine) headConfirmed() {
	h := m.head
	m.headNames(h)
	m.handoverConfirmed()
}

// lookForMarker reads the marker of the next epoch when the head could not be
// written: it may be readable where the head is not writable.
func (m *Machine) lookForMarker() {
	if m.j.Role != RoleActive || m.j.Demotion != nil || m.j.Doubt != "" {
		return
	}
	id := m.ask(func(d Done) {
		// That the marker can be read does not mean that the head can be written:
		// the next attempt waits all the same.
		switch d.Outcome {
		case Unknown:
			m.storeFailed(d.Err)
		case OK:
			mk := d.Object.(*Marker)
			if mk.Recovery != nil && mk.Active.Name == m.p.Self.Name {
				m.forgetHead() // the head says whether this instance goes on as the active
				return
			}
			h := &Head{Epoch: mk.Epoch, Active: mk.Active, Newest: mk.Restored, StartedFrom: mk.Restored, CutOff: mk.CutOff}
			if hj := m.j.Handover; hj != nil && mk.Mode == ModeSwitchover && (same(hj.Final, mk.Restored) || same(hj.Final, mk.CutOff)) {
				h.Handed = hj.Lease
			}
			if m.j.Seen.Epoch < h.Epoch { // no head of before is taken for the newest any more
				m.j.Seen, m.j.SeenHead = Position{Epoch: h.Epoch}, nil
			}
			m.deposed(h)
			m.forgetHead()
		}
	})
	m.emit(Read{ID: id, Kind: KindMarker, Key: MarkerKey(m.j.Epoch + 1)})
}

func errText(err error) string {
	if err == nil {
		return "no reason given"
	}
	return err.Error()
}

func (m *Machine) dropBackup(err error) {
	if m.making != nil {
		m.cancelWork()
	}
	for _, w := range []*wish{m.want, m.making} {
		if w != nil {
			m.answerAll(w, nil, err)
		}
	}
	m.want, m.making, m.publish = nil, nil, nil
	if m.config != nil {
		m.answer(m.config.Request, nil, err)
		m.config = nil
	}
}

func (m *Machine) answerAll(w *wish, ref *backup.Ref, err error) {
	for _, r := range w.requests {
		m.answer(r, ref, err)
	}
	w.requests = nil
}

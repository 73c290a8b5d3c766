package ha

import (
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// A backup that was made waits for an object to name it: the head, or the record of
// a salvage backup. It waits for as long as the bucket cannot be used, and over a
// crash. Meanwhile the bucket may be put back to before that backup, and show the very
// head that this instance knows. So whatever has waited is looked for in the bucket
// before anything names it, and made again if it is not there.

// madeLately is for how long a backup needs no look after it was made.
const madeLately = time.Second

// made notes that this process knows, as of now, that the bucket has what it made.
func (m *Machine) made() { m.foundAt = m.t }

// waitedUnnamed reports whether a backup that is about to be named has to be looked
// for first, and looks for it.
func (m *Machine) waitedUnnamed(ref *backup.Ref, lost func()) bool {
	if ref == nil || m.foundAt != never && m.t-m.foundAt <= madeLately {
		return false
	}
	id := m.ask(func(d Done) {
		switch d.Outcome {
		case OK:
			m.storeAnswered()
			m.made()
		case Missing:
			m.storeAnswered()
			m.report(Alarm, "bucket", "backup %s was made, and is no longer in the bucket, which was put back or lost it: it is made again", ref.ID)
			lost()
		default:
			m.storeFailed(d.Err)
		}
	})
	m.emit(FindBackup{ID: id, Ref: *ref})
	return true
}

// unnamed is the backup that the active's next head is the first to name; nil: there
// is none.
func (m *Machine) unnamed() *backup.Ref {
	ref := m.unpublished()
	if hj := m.j.Handover; hj != nil && hj.Final != nil {
		ref = hj.Final
	}
	if same(ref, m.head.Newest) {
		return nil
	}
	return ref
}

// unnamedLost forgets a backup that the bucket has lost, so that it is made again.
func (m *Machine) unnamedLost() {
	if !m.finalLost() {
		m.makeAgain()
	}
}

// finalLost forgets the final backup of a handover, where there is one that was lost.
// A head that hands over with it may have been sent: then the active takes back.
func (m *Machine) finalLost() bool {
	if hj := m.j.Handover; hj != nil && hj.Final != nil {
		hj.Final = nil
		m.forgetMaking()
		if hj.Phase == HandoverFinal {
			hj.Phase = HandoverStopping
		} else {
			hj.Phase = HandoverReturning
		}
		m.save(hj.Phase.step())
		return true
	}
	return false
}

// salvageAgain has a salvage backup that the bucket has lost made again.
func (m *Machine) salvageAgain(d *Demotion) {
	if m.j.Demotion != d {
		return
	}
	d.Made, d.Salvage, d.Kept = false, nil, nil
	m.save(stepSeen)
}

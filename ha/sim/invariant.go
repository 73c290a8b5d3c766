package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

// Invariant is a promise that is checked after every step.
type Invariant string

// Invariants.
const (
	// History: every version of the head follows the one before it; one commit
	// per epoch; what clients see of head and lease is linearizable.
	History Invariant = "history"
	// Chain: the chain of backups has no gap, and forks at epoch boundaries
	// only, each named by its marker.
	Chain Invariant = "chain"
	// Durability: a backup that was acknowledged is in the chain, and a write
	// that was acknowledged is in a backup that the chain or a salvage record
	// names.
	Durability Invariant = "durability"
	// Fencing: an application whose instance does not lead stops within the
	// bound that its fencing mode promises (fence.go).
	Fencing Invariant = "fencing"
	// Claim: no process starts its application or makes a backup before the
	// store has a head of its own.
	Claim Invariant = "claim"
	// Handover: an application that was handed over, or whose agent has bidden
	// farewell, stays stopped while the head says so, and its successor has all of
	// the writes before a handover.
	Handover Invariant = "handover"
	// Acknowledgement: an application of which its instance says that it has stopped
	// has stopped.
	Acknowledgement Invariant = "acknowledgement"
	// Promotion: a promotion ends as promoted, or with everything as before.
	Promotion Invariant = "promotion"
	// Restore: what is restored equals its manifest, nothing is swapped in that
	// was not staged for exactly the chosen backup, and nothing is replaced under
	// a running application.
	Restore Invariant = "restore"
	// Progress: once nothing goes wrong any more, the cluster comes to rest.
	Progress Invariant = "progress"
)

// Violation is a promise that did not hold.
type Violation struct {
	Invariant Invariant
	Seed      uint64
	At        time.Duration // simulated
	Text      string
}

func (v *Violation) Error() string {
	return fmt.Sprintf("seed %d, at %v: %s: %s", v.Seed, v.At, v.Invariant, v.Text)
}

// fail ends the run. The first violation counts.
func (w *World) fail(i Invariant, format string, args ...any) {
	if w.err == nil {
		w.err = &Violation{Invariant: i, Seed: w.opt.Seed, At: w.now, Text: fmt.Sprintf(format, args...)}
	}
}

// written checks every version of a control object that the store ever has.
func (w *World) written(key string, value any) {
	switch v := value.(type) {
	case *ha.Head:
		w.headWritten(v)
	case *ha.Marker:
		w.markerWritten(key, v)
	case *ha.SalvageRecord:
		if v.Backup != nil {
			w.backups[v.Backup.ID].state.save() // not before: what no list shows is lost to people
		}
	}
}

func (w *World) headWritten(h *ha.Head) {
	w.trace("head: epoch %d rev %d active %s newest %s handover %v", h.Epoch, h.Rev, h.Active.Incarnation, refID(h.Newest), h.Handover)
	last := w.head
	w.head, w.again = h, false
	w.led[h.Active.Incarnation] = true
	if last == nil {
		return
	}
	if r := h.Recovery; r != nil && r.Nonce == h.Nonce {
		w.recovered(h)
		return
	}
	switch {
	case h.Epoch == last.Epoch && h.Active.Name != last.Active.Name:
		w.fail(History, "two actives in epoch %d: %s and %s", h.Epoch, last.Active.Name, h.Active.Name)
	case h.Epoch != last.Epoch && h.Epoch != last.Epoch+1:
		w.fail(History, "the epoch went from %d to %d", last.Epoch, h.Epoch)
	}
	w.checkChain(last, h)
	if h.Epoch == last.Epoch+1 {
		w.checkCommit(last, h)
	}
	if h.Rev != last.Rev+1 {
		w.fail(History, "rev went from %d to %d", last.Rev, h.Rev)
	}
	if ho := h.Handover; ho != nil && ho.State == ha.Handed && (last.Handover == nil || last.Handover.State != ha.Handed) {
		w.checkHanded(h)
		w.checkWord(h)
	}
}

// checkChain checks that within an epoch the chain grows by one backup on top
// of the one before.
func (w *World) checkChain(last, h *ha.Head) {
	switch {
	case h.Newest == nil:
		if last.Newest != nil {
			w.fail(Chain, "the head forgot its newest backup %s", last.Newest.ID)
		}
		return
	case h.Epoch != last.Epoch || last.Newest != nil && h.Newest.ID == last.Newest.ID:
		return
	}
	b := w.backups[h.Newest.ID]
	if refID(b.previous) != refID(last.Newest) {
		w.fail(Chain, "backup %s is on top of %s, not of %s", h.Newest.ID, refID(b.previous), refID(last.Newest))
	}
	if last.Newest != nil && h.Newest.Sequence <= last.Newest.Sequence {
		w.fail(Chain, "the sequence went from %d to %d", last.Newest.Sequence, h.Newest.Sequence)
	}
	b.published = true
	b.state.save()
	w.published = append(w.published, h.Newest.ID)
}

// checkNamed checks that a backup which is about to be named for the first time had not
// gone from the bucket when its host last looked for it. A process that stood still
// meanwhile, and hears only now that it has made the backup, takes that for news.
func (p *Process) checkNamed(e ha.Write) {
	var ref *backup.Ref
	switch o := e.Object.(type) {
	case *ha.Head:
		now := p.h.w.store.objects[ha.HeadKey] // a write over another version than this one is lost
		if last := p.h.w.head; e.Cond.Match() == now.token && o.Epoch == last.Epoch && refID(o.Newest) != refID(last.Newest) {
			ref = o.Newest
		}
	case *ha.SalvageRecord:
		ref = o.Backup
	}
	if ref == nil || p.h.astray {
		return
	}
	b := p.h.w.backups[ref.ID]
	since := b.goneAt
	if p.born < since {
		since = max(since, p.h.fence.resumed)
	}
	if b.gone && p.h.w.now > since+p.h.clock.lasts(poll)+slack {
		p.h.w.fail(Chain, "%s is about to name backup %s, which has not been in the bucket since %v", p.h.id, ref.ID, b.goneAt)
	}
}

// checkCommit checks a commit against what the promotion is based on.
func (w *World) checkCommit(last, h *ha.Head) {
	w.commits[h.Epoch] = h
	if h.Newest.ID != last.Newest.ID && refID(h.CutOff) != last.Newest.ID {
		w.fail(Chain, "the commit of epoch %d does not name the chain that it cut off (%s)", h.Epoch, last.Newest.ID)
	}
	s := w.sent[h.Nonce]
	if s == nil {
		w.fail(Promotion, "%s committed epoch %d without a promotion in its journal", h.Active.Incarnation, h.Epoch)
		return
	}
	p := &s.promotion
	a := w.promotions[p.ID]
	original := a.host == s.host && a.disks == s.host.disks // not a copy, not put back to before
	if original {
		a.committed, a.epoch = true, h.Epoch
	}
	switch {
	case original && a.refused:
		w.fail(Promotion, "promotion %s committed epoch %d though it had ended as rolled back", p.ID, h.Epoch)
	case p.Chosen == nil && h.Newest.ID != last.Newest.ID:
		w.fail(Chain, "%s committed epoch %d from backup %s, and cut off %s, which nobody asked for", s.host.id, h.Epoch, h.Newest.ID, last.Newest.ID)
	case p.Mode == ha.ModeSwitchover && (last.Handover == nil || last.Handover.Lease != p.ID || last.Handover.State != ha.Handed):
		w.fail(Handover, "%s committed a switchover to epoch %d that %s had not handed over", s.host.id, h.Epoch, last.Active.Name)
	case p.HostIsOff && last.Rev != p.Rev:
		w.fail(Promotion, "%s committed epoch %d on the word that the host of %s is off, which has renewed the head since", s.host.id, h.Epoch, last.Active.Name)
	case s.disks != s.host.disks:
		// The host's disk was put back since: nothing can be said of it.
	case s.host.disk.state.digest != w.backups[h.Newest.ID].state.digest:
		w.fail(Restore, "%s committed epoch %d with another state than that of backup %s", s.host.id, h.Epoch, h.Newest.ID)
	}
}

// checkHanded checks that the final backup of a handover has everything.
func (w *World) checkHanded(h *ha.Head) {
	if h.Handover.Unstopped {
		return // nobody has looked whether the application writes
	}
	for _, o := range w.hosts {
		if o.ran[h.Active.Incarnation] && o.disk.state.digest != w.backups[h.Newest.ID].state.digest && o.disks == 0 {
			w.fail(Handover, "%s handed over, and its final backup %s lacks writes that it acknowledged", o.id, h.Newest.ID)
		}
	}
}

// markerWritten checks that a marker says what the commit said.
func (w *World) markerWritten(key string, m *ha.Marker) {
	h := w.commits[m.Epoch]
	switch {
	case key != ha.MarkerKey(m.Epoch):
		w.fail(Chain, "the marker of epoch %d lies at %s", m.Epoch, key)
	case h == nil && slices.ContainsFunc(w.undone, func(h *ha.Head) bool { return h.Epoch == m.Epoch }):
	case h == nil:
		w.fail(Chain, "there is a marker of epoch %d, which has not begun", m.Epoch)
	case refID(m.Restored) != refID(h.StartedFrom), refID(m.CutOff) != refID(h.CutOff), m.Active.Name != h.Active.Name:
		w.fail(Chain, "the marker of epoch %d says otherwise than its commit", m.Epoch)
	case m.Mode != "" && w.sent[h.Nonce] != nil && w.sent[h.Nonce].promotion.HostIsOff != m.HostIsOff:
		w.fail(Promotion, "the marker of epoch %d does not say that the old active's host was said to be off", m.Epoch)
	}
}

// maxJournal is how many bytes a journal may have at the most, however long an
// outage lasts; a process that ends in an outage adds some.
const maxJournal = 16 << 10

// measureEvery is which share of the journals are measured: one that is too large
// stays so, and measuring is dear.
const measureEvery = 8

func (w *World) checkJournal(j ha.Journal) {
	if w.journals++; w.journals%measureEvery != 0 {
		return
	}
	data, err := json.Marshal(j)
	if err != nil || len(data) > maxJournal {
		w.fail(Progress, "a journal has %d bytes: %v", len(data), err)
	}
}

// checkEffect checks what a core asks for, before it is carried out.
func (w *World) checkEffect(p *Process, e ha.Effect) {
	switch e := e.(type) {
	case ha.StartApp:
		if !w.led[p.incarnation] && !p.h.overridden() {
			w.fail(Claim, "%s starts its application before it has claimed the head", p.incarnation)
		}
	case ha.MakeBackup:
		if !w.led[p.incarnation] {
			w.fail(Claim, "%s makes a backup before it has claimed the head", p.incarnation)
		}
	case ha.Write:
		p.checkSaidStopped(e)
		p.checkNamed(e)
		// A commit may land long after: what it was based on is noted now.
		if h, ok := e.Object.(*ha.Head); ok && p.h.disk.journal.Promotion != nil {
			w.sent[h.Nonce] = &attempt{host: p.h, disks: p.h.disks, promotion: *p.h.disk.journal.Promotion}
		}
	}
}

// attempt is a commit that was sent.
type attempt struct {
	host      *Host
	disks     int // how often the host's disk had been put back
	promotion ha.Promotion
}

// asked is a request by an operator or an application.
type asked struct {
	host      *Host
	before    *state // what the host held, its application being stopped; nil: it was not
	disks     int
	committed bool
	epoch     uint64 // that it began
	refused   bool
	word      bool // somebody has given their word that the active's application is stopped
	void      bool // the bucket was put back meanwhile
}

// answered checks what a request was told.
func (w *World) answered(p *Process, e ha.Answer) {
	w.trace("%s: answer to %s: %v", p.h.id, e.Request, e.Refused)
	if a := w.promotions[e.Request]; a != nil {
		if a.host == p.h && !a.void && a.disks == p.h.disks {
			w.promotionEnded(a, e)
		}
		return
	}
	if e.Ref != nil && e.Refused == nil && !w.backups[e.Ref.ID].published {
		w.fail(Durability, "backup %s was acknowledged, and is not in the chain", e.Ref.ID)
	}
}

func (w *World) promotionEnded(a *asked, e ha.Answer) {
	a.refused = e.Refused != nil
	d := &a.host.disk
	switch {
	case !a.refused && !a.committed:
		w.fail(Promotion, "promotion %s was said to be done, and never committed", e.Request)
	case a.refused && a.committed && (w.deleted[ha.MarkerKey(a.epoch)] || a.host.stale):
		// Without the marker nobody knows what became of the commit.
	case a.refused && a.committed && a.host.twin() && strings.Contains(e.Refused.Error(), "was put back to before"):
		// A copy has gone on from there, and this one says that it has not.
	case a.refused && a.committed:
		w.fail(Promotion, "promotion %s was said to be rolled back, and has committed: %v", e.Request, e.Refused)
	case a.refused && strings.Contains(e.Refused.Error(), "was put back to before"):
		// A copy has committed in its name: what is here may be what that has written.
	case a.refused && a.before != nil && (d.swapped || d.state.digest != a.before.digest):
		w.fail(Promotion, "promotion %s was rolled back, and left %s changed", e.Request, a.host.id)
	}
}

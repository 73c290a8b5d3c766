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
	// Streams: what is read of a stream is a prefix of one chain, and nothing behind an
	// end part is; a write that was confirmed is in every later epoch that does not begin
	// with an older backup on purpose; a stream is opened once, and goes on after a
	// promotion that was given up (streamchecks.go).
	Streams Invariant = "streams"
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

// checker looks at every step of a world, and at the end.
type checker struct {
	w   *World
	err error // the first promise that did not hold

	led        map[string]bool     // incarnations that have ever led the cluster
	commits    map[uint64]*ha.Head // by epoch
	undone     []*ha.Head          // commits that were lost when the bucket was put back
	sent       map[string]*attempt // writes of the head during a promotion, by nonce
	promotions map[string]*asked
}

func newChecker(w *World) checker {
	return checker{w: w, led: map[string]bool{}, commits: map[uint64]*ha.Head{}, sent: map[string]*attempt{}, promotions: map[string]*asked{}}
}

// fail ends the run. The first violation counts.
func (c *checker) fail(i Invariant, format string, args ...any) {
	if c.err == nil {
		c.err = &Violation{Invariant: i, Seed: c.w.opt.Seed, At: c.w.now, Text: fmt.Sprintf(format, args...)}
	}
}

// written checks every version of a control object that the store ever has.
func (c *checker) written(key string, value any) {
	switch v := value.(type) {
	case *ha.Head:
		c.headWritten(v)
	case *ha.Lease:
		c.leaseWritten(v)
	case *ha.Marker:
		c.markerWritten(key, v)
	case *ha.SalvageRecord:
		if v.Backup != nil {
			c.w.backups[v.Backup.ID].state.save() // not before: what no list shows is lost to people
		}
	}
}

func (c *checker) headWritten(h *ha.Head) {
	c.w.trace("head: epoch %d rev %d active %s newest %s handover %v", h.Epoch, h.Rev, h.Active.Incarnation, refID(h.Newest), h.Handover)
	last := c.w.head
	c.w.head, c.w.again = h, false
	c.led[h.Active.Incarnation] = true
	if last == nil {
		return
	}
	if r := h.Recovery; r != nil && r.Nonce == h.Nonce {
		c.recovered(h)
		return
	}
	switch {
	case h.Epoch == last.Epoch && h.Active.Name != last.Active.Name:
		c.fail(History, "two actives in epoch %d: %s and %s", h.Epoch, last.Active.Name, h.Active.Name)
	case h.Epoch != last.Epoch && h.Epoch != last.Epoch+1:
		c.fail(History, "the epoch went from %d to %d", last.Epoch, h.Epoch)
	}
	c.chain(last, h)
	c.headStreams(last, h)
	if h.Epoch == last.Epoch+1 {
		c.commit(last, h)
	}
	if h.Rev != last.Rev+1 {
		c.fail(History, "rev went from %d to %d", last.Rev, h.Rev)
	}
	if ho := h.Handover; ho != nil && ho.State == ha.Handed && (last.Handover == nil || last.Handover.State != ha.Handed) {
		c.handed(h)
		c.word(h)
	}
}

// chain checks that within an epoch the chain grows by one backup on top
// of the one before.
func (c *checker) chain(last, h *ha.Head) {
	switch {
	case h.Newest == nil:
		if last.Newest != nil {
			c.fail(Chain, "the head forgot its newest backup %s", last.Newest.ID)
		}
		return
	case h.Epoch != last.Epoch || last.Newest != nil && h.Newest.ID == last.Newest.ID:
		return
	}
	b := c.w.backups[h.Newest.ID]
	if refID(b.previous) != refID(last.Newest) {
		c.fail(Chain, "backup %s is on top of %s, not of %s", h.Newest.ID, refID(b.previous), refID(last.Newest))
	}
	if last.Newest != nil && h.Newest.Sequence <= last.Newest.Sequence {
		c.fail(Chain, "the sequence went from %d to %d", last.Newest.Sequence, h.Newest.Sequence)
	}
	b.published = true
	b.state.save()
	c.w.published = append(c.w.published, h.Newest.ID)
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
		p.h.w.check.fail(Chain, "%s is about to name backup %s, which has not been in the bucket since %v", p.h.id, ref.ID, b.goneAt)
	}
}

// commit checks a commit against what the promotion is based on.
func (c *checker) commit(last, h *ha.Head) {
	c.commits[h.Epoch] = h
	if h.Newest.ID != last.Newest.ID && refID(h.CutOff) != last.Newest.ID {
		c.fail(Chain, "the commit of epoch %d does not name the chain that it cut off (%s)", h.Epoch, last.Newest.ID)
	}
	s := c.sent[h.Nonce]
	if s == nil {
		c.fail(Promotion, "%s committed epoch %d without a promotion in its journal", h.Active.Incarnation, h.Epoch)
		return
	}
	p := &s.promotion
	a := c.promotions[p.ID]
	original := a.host == s.host && a.disks == s.host.disks // not a copy, not put back to before
	if original {
		a.committed, a.epoch = true, h.Epoch
	}
	switch {
	case original && a.refused:
		c.fail(Promotion, "promotion %s committed epoch %d though it had ended as rolled back", p.ID, h.Epoch)
	case p.Chosen == nil && h.Newest.ID != last.Newest.ID:
		c.fail(Chain, "%s committed epoch %d from backup %s, and cut off %s, which nobody asked for", s.host.id, h.Epoch, h.Newest.ID, last.Newest.ID)
	case p.Mode == ha.ModeSwitchover && (last.Handover == nil || last.Handover.Lease != p.ID || last.Handover.State != ha.Handed):
		c.fail(Handover, "%s committed a switchover to epoch %d that %s had not handed over", s.host.id, h.Epoch, last.Active.Name)
	case p.HostIsOff && last.Rev != p.Rev:
		c.fail(Promotion, "%s committed epoch %d on the word that the host of %s is off, which has renewed the head since", s.host.id, h.Epoch, last.Active.Name)
	case s.disks != s.host.disks:
		// The host's disk was put back since: nothing can be said of it.
	case c.w.on() && c.appliedAll(s.host.disk.state, h):
	case s.host.disk.state.digest != c.w.backups[h.Newest.ID].state.digest:
		c.fail(Restore, "%s committed epoch %d with another state than that of backup %s", s.host.id, h.Epoch, h.Newest.ID)
	}
}

// handed checks that the final backup of a handover has everything.
func (c *checker) handed(h *ha.Head) {
	if h.Handover.Unstopped {
		return // nobody has looked whether the application writes
	}
	for _, o := range c.w.hosts {
		if o.ran[h.Active.Incarnation] && o.disk.state.digest != c.w.backups[h.Newest.ID].state.digest && o.disks == 0 {
			c.fail(Handover, "%s handed over, and its final backup %s lacks writes that it acknowledged", o.id, h.Newest.ID)
		}
	}
}

// markerWritten checks that a marker says what the commit said.
func (c *checker) markerWritten(key string, m *ha.Marker) {
	h := c.commits[m.Epoch]
	switch {
	case key != ha.MarkerKey(m.Epoch):
		c.fail(Chain, "the marker of epoch %d lies at %s", m.Epoch, key)
	case h == nil && slices.ContainsFunc(c.undone, func(h *ha.Head) bool { return h.Epoch == m.Epoch }):
	case h == nil:
		c.fail(Chain, "there is a marker of epoch %d, which has not begun", m.Epoch)
	case refID(m.Restored) != refID(h.StartedFrom), refID(m.CutOff) != refID(h.CutOff), m.Active.Name != h.Active.Name:
		c.fail(Chain, "the marker of epoch %d says otherwise than its commit", m.Epoch)
	case m.Mode != "" && c.sent[h.Nonce] != nil && c.sent[h.Nonce].promotion.HostIsOff != m.HostIsOff:
		c.fail(Promotion, "the marker of epoch %d does not say that the old active's host was said to be off", m.Epoch)
	}
}

// maxJournal is how many bytes a journal may have at the most, however long an
// outage lasts; a process that ends in an outage adds some.
const maxJournal = 16 << 10

// measureEvery is which share of the journals are measured: one that is too large
// stays so, and measuring is dear.
const measureEvery = 8

func (c *checker) journal(j ha.Journal) {
	if c.w.journals++; c.w.journals%measureEvery != 0 {
		return
	}
	data, err := json.Marshal(j)
	if err != nil || len(data) > maxJournal {
		c.fail(Progress, "a journal has %d bytes: %v", len(data), err)
	}
}

// effect checks what a core asks for, before it is carried out.
func (c *checker) effect(p *Process, e ha.Effect) {
	switch e := e.(type) {
	case ha.StartApp:
		if !c.led[p.incarnation] && !p.h.overridden() {
			c.fail(Claim, "%s starts its application before it has claimed the head", p.incarnation)
		}
	case ha.MakeBackup:
		if !c.led[p.incarnation] {
			c.fail(Claim, "%s makes a backup before it has claimed the head", p.incarnation)
		}
	case ha.Write:
		p.checkSaidStopped(e)
		p.checkNamed(e)
		c.opensStream(p, e)
		// A commit may land long after: what it was based on is noted now.
		if h, ok := e.Object.(*ha.Head); ok && p.h.disk.journal.Promotion != nil {
			c.sent[h.Nonce] = &attempt{host: p.h, disks: p.h.disks, promotion: *p.h.disk.journal.Promotion}
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
func (c *checker) answered(p *Process, e ha.Answer) {
	c.w.trace("%s: answer to %s: %v", p.h.id, e.Request, e.Refused)
	if a := c.promotions[e.Request]; a != nil {
		if a.host == p.h && !a.void && a.disks == p.h.disks {
			c.promotionEnded(a, e)
		}
		return
	}
	if e.Ref != nil && e.Refused == nil && !c.w.backups[e.Ref.ID].published {
		c.fail(Durability, "backup %s was acknowledged, and is not in the chain", e.Ref.ID)
	}
}

func (c *checker) promotionEnded(a *asked, e ha.Answer) {
	a.refused = e.Refused != nil
	d := &a.host.disk
	switch {
	case !a.refused && !a.committed:
		c.fail(Promotion, "promotion %s was said to be done, and never committed", e.Request)
	case a.refused && a.committed && (c.w.deleted[ha.MarkerKey(a.epoch)] || a.host.stale):
		// Without the marker nobody knows what became of the commit.
	case a.refused && a.committed && a.host.twin() && (strings.Contains(e.Refused.Error(), "was put back to before") || strings.Contains(e.Refused.Error(), "another process under the name of this instance became the active")):
		// A copy has gone on from there, and this one says that it has not.
	case a.refused && a.committed:
		c.fail(Promotion, "promotion %s was said to be rolled back, and has committed: %v", e.Request, e.Refused)
	case a.refused && strings.Contains(e.Refused.Error(), "was put back to before"):
		// A copy has committed in its name: what is here may be what that has written.
	case a.refused && a.before != nil && (d.swapped || d.state.digest != a.before.digest):
		c.fail(Promotion, "promotion %s was rolled back, and left %s changed", e.Request, a.host.id)
	}
}

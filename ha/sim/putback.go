package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// The bucket is put back to an earlier state: its control objects, its backups and
// the records of names. Or a host is pointed at such a state, a replica of the
// bucket, while the others go on with the bucket itself.

// copied is an earlier state of the bucket.
type bucketCopy struct {
	objects map[string]object
	backups map[string]bool
	head    *ha.Head
	names   map[string]string
	commits map[uint64]*ha.Head
	parts   map[string]*part
}

// mostPutBacks bounds how often a run's bucket is put back: each time takes an
// operator, and their own time to rest.
const mostPutBacks = 2

// copyBucket keeps the bucket as it is now.
func (m *mishaps) copyBucket() {
	if m.w.lostHead != nil {
		return
	}
	c := bucketCopy{objects: maps.Clone(m.w.store.objects), backups: map[string]bool{}, head: m.w.head, names: maps.Clone(m.w.names), commits: maps.Clone(m.w.check.commits)}
	if m.w.on() {
		c.parts = maps.Clone(m.w.streams.parts)
	}
	for id, b := range m.w.backups {
		c.backups[id] = !b.gone
	}
	m.w.copies = append(m.w.copies, c)
}

// putBack puts the bucket back. What was only in the backups that are gone is lost,
// by whoever did that.
func (m *mishaps) putBack(h *Host) {
	w := m.w
	if len(w.copies) == 0 || w.putBacks == mostPutBacks || w.lostHead != nil || slices.ContainsFunc(w.hosts, func(h *Host) bool { return h.astray }) {
		return
	}
	c := w.copies[w.rng.IntN(len(w.copies))]
	if c.head.Newest == nil || c.head.Nonce == w.head.Nonce {
		return
	}
	w.trace("the bucket is put back: epoch %d, rev %d", c.head.Epoch, c.head.Rev)
	w.putBacks++
	w.tainted, w.lastPutBack = true, w.now
	if w.on() {
		w.streams.putBack(c.parts)
	}
	before := w.store.objects
	w.store.load(c.objects)
	clear(w.store.past) // whatever showed older versions shows the bucket as it is now
	for key, o := range w.store.objects {
		w.store.keepVersion(key, o)
	}
	for _, key := range []string{ha.HeadKey, ha.LeaseKey} {
		w.history.put(key, before[key].token, w.store.nonces[w.store.objects[key].token])
	}
	for id, b := range w.backups {
		if gone := !c.backups[id]; gone != b.gone {
			b.gone, b.goneAt = gone, w.now
		}
	}
	w.again = true
	w.head, w.names = c.head, maps.Clone(c.names)
	for _, epoch := range slices.Sorted(maps.Keys(w.check.commits)) {
		if head := w.check.commits[epoch]; c.commits[epoch] != head {
			w.check.undone = append(w.check.undone, head)
		}
	}
	w.check.commits = maps.Clone(c.commits)
	for _, h := range w.hosts {
		if h.forgotten() {
			m.giveUp(h)
		}
	}
	for _, a := range w.check.promotions {
		a.void = true // what becomes of it nobody can say
	}
}

// undid reports whether a bucket that was put back tells no more that an instance was
// the active in an epoch.
func (w *World) undid(name string) bool {
	return slices.ContainsFunc(w.check.undone, func(head *ha.Head) bool { return head.Active.Name == name })
}

// forgotten reports whether neither the bucket, which was put back, nor the data
// folder, which was put back before, tells that a host was the active.
func (h *Host) forgotten() bool {
	return h.disks > 0 && slices.ContainsFunc(h.w.check.undone, func(head *ha.Head) bool {
		return h.ran[head.Active.Incarnation] && h.disk.journal.Seen.Epoch < head.Epoch
	})
}

// giveUp notes that nothing tells what a host has, nor who started what runs there.
func (m *mishaps) giveUp(h *Host) {
	h.disk.giveUp()
	h.app, h.foreign = false, h.app || h.foreign
}

// load fills a store with objects, each under a token of its own.
func (s *store) load(objects map[string]object) {
	s.objects = map[string]object{}
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		token := blobstore.Token(fmt.Sprint("t", len(s.nonces)+1))
		s.objects[key] = object{value: objects[key].value, token: token}
		s.nonces[token] = fmt.Sprint(nonceOf(objects[key].value), " again, as ", token)
	}
}

// goAstray points a host at a replica of the bucket, which knows less than the host
// does, and later back at the bucket. That somebody does so amid its promotion, or
// before it has written the record of its salvage backup, is left out: the marker that
// it then leaves in the replica is missing from the bucket until the next promotion
// writes it, and the record for good. The salvage backup is listed without.
func (m *mishaps) goAstray(h *Host) {
	w := m.w
	if len(w.copies) == 0 || h.astray || h.locked || h.asleep || h.disk.journal.Promotion != nil || h.owesRecord() || slices.ContainsFunc(w.hosts, (*Host).older) {
		return
	}
	c := w.copies[w.rng.IntN(len(w.copies))]
	if c.head.Newest == nil || !c.head.IsOlder(h.disk.journal.Seen) {
		return
	}
	w.trace("%s: is pointed at a replica of the bucket: epoch %d, rev %d", h.id, c.head.Epoch, c.head.Rev)
	if w.replica == nil || !slices.ContainsFunc(w.hosts, func(h *Host) bool { return h.astray }) {
		w.replica = &store{w: w, objects: map[string]object{}, nonces: map[blobstore.Token]string{}, replica: true}
		w.replica.load(c.objects)
	}
	h.astray = true
	h.unwell(w.now)
	w.after(w.mishaps.pause(), func() { m.comeBack(h) })
}

// owesRecord reports whether a host has still to write what became of its state.
func (h *Host) owesRecord() bool {
	d := h.disk.journal.Demotion
	return d != nil && !d.Told
}

// comeBack points a host at the bucket again. So does whoever puts its disk, or its
// data folder, back: two buckets that show the very head that a journal knows cannot
// be told apart.
func (m *mishaps) comeBack(h *Host) {
	if h.astray {
		m.w.trace("%s: is pointed at the bucket again", h.id)
		h.astray, h.back = false, m.w.now
		h.unwell(m.w.now + requestTimeout)
	}
}

// sees is the store that a host looks at.
func (h *Host) sees() *store {
	if h.astray {
		return h.w.replica
	}
	return h.w.store
}

// older reports whether a host's agent sees an older head than it has seen.
func (h *Host) older() bool {
	return h.proc != nil && h.proc.m != nil && h.proc.m.Status().Older != nil
}

// lookAgain is how long a recovery may take from when it asked a host what it sees.
const lookAgain = time.Minute

// replicaWritten checks what is written to a replica: nobody goes on from it while
// somebody can be asked who sees the newer head.
func (c *checker) replicaWritten(value any) {
	h, ok := value.(*ha.Head)
	if !ok || h.Recovery == nil || h.Recovery.Nonce != h.Nonce || c.w.head.IsOlder(h.Recovery.Shown) || c.w.head.Position() == h.Recovery.Shown {
		return
	}
	for _, o := range c.w.hosts {
		if s := o.sighting(); !o.astray && c.w.now > o.back+lookAgain && s.Shown != nil && !slices.Contains(h.Recovery.Unasked, s.Instance) {
			c.fail(History, "a second cluster begins in a replica, in epoch %d, and %s sees the bucket (epoch %d)", h.Epoch, o.id, c.w.head.Epoch)
		}
	}
}

// recovered checks a head by which an operator has the cluster go on.
func (c *checker) recovered(h *ha.Head) {
	c.commits[h.Epoch] = h
	if len(h.Recovery.Unasked) > 0 {
		return // whatever those have seen, nobody could know
	}
	for _, o := range c.w.hosts {
		if seen := o.disk.journal.Seen; seen.Epoch >= h.Epoch && o.proc != nil && seen.Nonce != h.Nonce {
			c.fail(History, "the cluster goes on in epoch %d, and %s has seen epoch %d", h.Epoch, o.id, seen.Epoch)
		}
	}
}

// sighting is what a host sees when it is asked.
func (h *Host) sighting() ha.Sighting {
	s := ha.Sighting{Instance: h.disk.name, Error: "it does not answer"}
	if h.proc == nil || h.proc.m == nil || !h.proc.admitted || h.frozen() || h.cut != cutNot {
		return s
	}
	head := h.shownHead()
	if head == nil {
		return s
	}
	shown, j := head.Position(), h.disk.journal
	return ha.Sighting{Instance: s.Instance, Shown: &shown, Seen: j.Seen, Head: j.SeenHead, Leading: h.proc.m.Status().Leading && !h.older()}
}

// survey is what all hosts but one see.
func (op *operator) survey(asker *Host) (all []ha.Sighting) {
	for _, h := range op.w.hosts {
		if h != asker && h.disk.name != "" {
			all = append(all, h.sighting())
		}
	}
	return all
}

// recoverBucket has a host go on from the bucket as it is. Of those that do not
// answer the operator says that they will never see the newer head again, which is
// true unless the host has gone astray.
func (op *operator) recoverBucket(h *Host) {
	if !h.older() {
		return
	}
	older := h.proc.m.Status().Older
	if shown := older.Head.Position(); h.astray && (op.w.head.IsOlder(shown) || op.w.head.Position() == shown) {
		return // the replica knows as much as the bucket: nobody can tell which is which
	}
	ev := ha.Recover{By: "operator", Shown: older.Head.Position()}
	if !h.astray {
		for _, s := range op.survey(h) {
			if s.Shown == nil {
				ev.Unasked = append(ev.Unasked, s.Instance)
			}
		}
		ev.Newest = op.returnCached(h, older)
	}
	op.ask(h, func(r string) ha.Event {
		op.w.trace("%s: an operator has it go on from the bucket as it is, %s", h.id, r)
		ev.Request = r
		return ev
	})
}

// returnCached puts back what a host has cached and the bucket lacks, and returns
// the newest backup that it has then.
func (op *operator) returnCached(h *Host, older *ha.OlderHead) *backup.Ref {
	for id := range h.disk.cache {
		if b := op.w.backups[id]; !h.disk.rotten[id] {
			b.gone = false
		}
	}
	if newest := older.Seen.Newest; newest != nil && !op.w.backups[newest.ID].gone {
		return newest
	}
	return nil
}

// putBackGrace is how long after the bucket was put back under strict fencing a host
// may still run its application that another one leads without: until it has not
// renewed its head for long enough.
func (h *Host) putBackGrace() time.Duration {
	return h.w.lastPutBack + h.clock.lasts(strictBound(h.fence.under)+time.Duration(h.fence.under.StopTimeout))
}

// Package sim runs the protocol core against a simulated store and clock. The
// core is the real one (package ha); what is simulated is everything that it
// asks for: requests that get lost, land late or answer late, applications,
// backups, crashes, partitions. A run is decided by its seed alone.
package sim

import (
	"bytes"
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// Options shape a run.
type Options struct {
	Seed     uint64
	Nodes    int
	Fencing  ha.FencingMode
	Faults   bool          // lose, delay and refuse requests; crash; partition
	Duration time.Duration // of trouble; afterwards everything heals
	Trace    func(format string, args ...any)
}

// World is one simulated cluster.
type World struct {
	opt     Options
	rng     *rand.Rand
	now     time.Duration
	queue   eventQueue
	seq     int
	objects map[string]object
	tokens  int
	healed  bool

	nodes   []*node
	backups map[string]snapshot
	made    []string // ids of the published backups, in order
	writes  int      // serial of the last write that an application acknowledged
	heads   []ha.Head
	err     error
}

type object struct {
	body  []byte
	token blobstore.Token
}

type snapshot struct {
	state []int
	ref   backup.Ref
	prev  *backup.Ref
}

// errLost is what the simulated store says when it says nothing useful.
var errLost = errors.New("simulated fault")

// New makes a world with a cluster whose first node is the active.
func New(opt Options) *World {
	w := &World{
		opt: opt, rng: rand.New(rand.NewPCG(opt.Seed, 0x75736479)),
		objects: make(map[string]object), backups: make(map[string]snapshot),
	}
	fencing := ha.DefaultConfig().Fencing
	fencing.Mode = opt.Fencing
	for i := range opt.Nodes {
		w.nodes = append(w.nodes, &node{w: w, name: fmt.Sprintf("host-%c", 'a'+i), fencing: fencing, inflight: map[uint64]bool{}})
	}
	head := ha.Head{
		Format: ha.Format, Cluster: "sim", Epoch: 1, Rev: 1, Nonce: "genesis",
		Active: ha.Peer{Name: w.nodes[0].name, Incarnation: "genesis"}, Config: "config", Fencing: fencing,
	}
	w.put(ha.HeadKey, &head)
	w.nodes[0].disk = ha.Journal{Role: ha.RoleActive, Epoch: 1, First: true, Last: ha.Position{Epoch: 1, Rev: 1, Nonce: "genesis"}}
	for _, n := range w.nodes {
		n.boot()
	}
	return w
}

// Run lets trouble happen for the duration, heals, and waits for the cluster
// to come to rest. It returns the first promise that did not hold.
func (w *World) Run() error {
	w.after(0, w.writeLoop)
	w.after(w.between(5*time.Second, 40*time.Second), w.operator)
	if w.opt.Faults {
		w.after(w.between(time.Second, 30*time.Second), w.trouble)
	}
	w.after(w.opt.Duration, w.heal)
	deadline := w.opt.Duration + 30*time.Minute
	for w.err == nil && len(w.queue) > 0 {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
		if w.healed && w.now > w.opt.Duration+6*time.Minute && w.atRest() {
			return w.final()
		}
		if w.now > deadline {
			return w.fail("not at rest %v after everything healed:\n%s", w.now-w.opt.Duration, w.describe())
		}
	}
	return w.err
}

func (w *World) fail(format string, args ...any) error {
	if w.err == nil {
		w.err = fmt.Errorf("seed %d, at %v: "+format, append([]any{w.opt.Seed, w.now}, args...)...)
	}
	return w.err
}

func (w *World) trace(format string, args ...any) {
	if w.opt.Trace != nil {
		w.opt.Trace("%10v  "+format, append([]any{w.now.Round(time.Millisecond)}, args...)...)
	}
}

func (w *World) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)+1))
}

func (w *World) chance(p float64) bool { return w.rng.Float64() < p }

func (w *World) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{at: w.now + d, seq: w.seq, do: do})
}

func (w *World) put(key string, v any) blobstore.Token {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.tokens++
	o := object{body: body, token: blobstore.Token(fmt.Sprint("t", w.tokens))}
	w.objects[key] = o
	if key == ha.HeadKey {
		var h ha.Head
		if err := json.Unmarshal(body, &h); err != nil {
			panic(err)
		}
		w.headWritten(h)
	}
	return o.token
}

// swap is a conditional write as the store carries it out.
func (w *World) swap(key string, v any, cond blobstore.Condition) (blobstore.Token, bool) {
	o, ok := w.objects[key]
	if cond.Absent() && ok || cond.Match() != "" && (!ok || o.token != cond.Match()) {
		return "", false
	}
	return w.put(key, v), true
}

// writeLoop has every running application acknowledge a write now and then.
func (w *World) writeLoop() {
	for _, n := range w.nodes {
		if n.app && !w.healed {
			w.writes++
			n.state = append(slices.Clip(n.state), w.writes)
		}
	}
	w.after(500*time.Millisecond, w.writeLoop)
}

// operator promotes at random.
func (w *World) operator() {
	if w.healed {
		return
	}
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if n.m != nil {
		mode := []ha.Mode{"", ha.ModeSwitchover, ha.ModeFailover}[w.rng.IntN(3)]
		w.seq++
		n.step(ha.Promote{Request: fmt.Sprint("promotion-", w.seq), Mode: mode, By: "sim", Chosen: w.choose()})
		if w.chance(0.15) {
			w.after(w.between(0, 40*time.Second), func() { n.step(ha.CancelPromotion{Request: "cancel"}) })
		}
	}
	w.after(w.between(20*time.Second, 4*time.Minute), w.operator)
}

// choose picks an older backup now and then; nil is the newest.
func (w *World) choose() *backup.Ref {
	if len(w.made) == 0 || w.chance(0.85) {
		return nil
	}
	ref := w.backups[w.made[w.rng.IntN(len(w.made))]].ref
	return &ref
}

// trouble crashes and partitions at random.
func (w *World) trouble() {
	if w.healed {
		return
	}
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch {
	case w.chance(0.5):
		n.crash()
		w.after(w.between(time.Second, 3*time.Minute), n.boot)
	default:
		n.cut = true
		w.trace("%s: cut off from the store", n.name)
		w.after(w.between(time.Second, 3*time.Minute), func() { n.cut = false })
	}
	w.after(w.between(5*time.Second, 2*time.Minute), w.trouble)
}

func (w *World) heal() {
	w.healed = true
	w.trace("everything heals")
	for _, n := range w.nodes {
		n.cut = false
		n.boot()
	}
}

// headWritten checks every version of the head that the store ever had.
func (w *World) headWritten(h ha.Head) {
	w.trace("head: epoch %d rev %d active %s newest %v handover %v", h.Epoch, h.Rev, h.Active.Name, h.Newest, h.Handover)
	if n := len(w.heads); n > 0 {
		last := w.heads[n-1]
		switch {
		case h.Rev != last.Rev+1:
			_ = w.fail("rev went from %d to %d", last.Rev, h.Rev)
		case h.Epoch == last.Epoch && h.Active.Name != last.Active.Name:
			_ = w.fail("two actives in epoch %d: %s and %s", h.Epoch, last.Active.Name, h.Active.Name)
		case h.Epoch != last.Epoch && h.Epoch != last.Epoch+1:
			_ = w.fail("epoch went from %d to %d", last.Epoch, h.Epoch)
		}
		w.checkChain(last, h)
		if h.Epoch == last.Epoch+1 {
			w.checkCommit(last, h)
		}
	}
	w.heads = append(w.heads, h)
}

// checkChain checks that the chain grows by one backup on top of the one
// before, and forks at epoch boundaries only.
func (w *World) checkChain(last, h ha.Head) {
	if h.Epoch != last.Epoch || h.Newest == nil || last.Newest != nil && h.Newest.ID == last.Newest.ID {
		if h.Newest == nil && last.Newest != nil {
			_ = w.fail("the head forgot its newest backup")
		}
		return
	}
	prev := w.backups[h.Newest.ID].prev
	if (prev == nil) != (last.Newest == nil) || prev != nil && prev.ID != last.Newest.ID {
		_ = w.fail("backup %s is not on top of %v", h.Newest.ID, last.Newest)
	}
	w.made = append(w.made, h.Newest.ID)
}

// checkCommit checks that a switchover loses nothing and that what is cut off
// is named.
func (w *World) checkCommit(last, h ha.Head) {
	if h.Newest.ID != last.Newest.ID && (h.CutOff == nil || h.CutOff.ID != last.Newest.ID) {
		_ = w.fail("the commit of epoch %d does not name the chain that it cut off", h.Epoch)
	}
	n, old := w.node(h.Active.Name), w.node(last.Active.Name)
	if p := n.disk.Promotion; p == nil {
		_ = w.fail("%s committed epoch %d without a promotion in its journal", n.name, h.Epoch)
	} else if p.Chosen == nil && h.Newest.ID != last.Newest.ID {
		_ = w.fail("%s committed epoch %d from backup %s, and cut off %s, which nobody asked for", n.name, h.Epoch, h.Newest.ID, last.Newest.ID)
	} else if p.Mode == ha.ModeSwitchover && (last.Handover == nil || last.Handover.Lease != p.ID || last.Handover.State != ha.Handed) {
		_ = w.fail("%s committed a switchover to epoch %d that %s had not handed over", n.name, h.Epoch, old.name)
	}
	if !slices.Equal(n.state, w.backups[h.Newest.ID].state) {
		_ = w.fail("%s committed epoch %d with another state than that of backup %s", n.name, h.Epoch, h.Newest.ID)
	}
	if last.Handover != nil && last.Handover.State == ha.Handed {
		if old.app {
			_ = w.fail("%s took over while the application of %s, which handed over, runs", n.name, old.name)
		}
		if n != old && !slices.Equal(old.state, n.state) && h.Newest.ID == last.Newest.ID {
			_ = w.fail("a switchover from %s to %s lost writes", old.name, n.name)
		}
	}
}

func (w *World) node(name string) *node {
	i := slices.IndexFunc(w.nodes, func(n *node) bool { return n.name == name })
	return w.nodes[i]
}

// checkStart checks, with strict fencing, that no two applications run.
func (w *World) checkStart(n *node) {
	for _, o := range w.nodes {
		if o != n && o.app && w.opt.Fencing == ha.Strict {
			_ = w.fail("the application of %s starts while that of %s runs", n.name, o.name)
		}
	}
}

// atRest reports whether the cluster has settled: one active that leads, with
// its application running and everything backed up, the others standbys.
func (w *World) atRest() bool {
	leading := 0
	for _, n := range w.nodes {
		if n.m == nil {
			return false
		}
		s := n.m.Status()
		if s.Promotion != nil || s.Demotion != nil || s.Handover != nil || s.Refused != "" {
			return false
		}
		if s.Role == ha.RoleActive {
			if !s.Leading || !n.app || s.Head.Newest == nil || !slices.Equal(w.backups[s.Head.Newest.ID].state, n.state) {
				return false
			}
			leading++
		} else if n.app {
			return false
		}
	}
	return leading == 1
}

// final checks that no acknowledged write is lost: each is in the active's
// state, in a backup, or in a salvage backup.
func (w *World) final() error {
	have := make([]bool, w.writes+1)
	for _, s := range w.backups {
		for _, i := range s.state {
			have[i] = true
		}
	}
	for i := 1; i <= w.writes; i++ {
		if !have[i] {
			return w.fail("write %d is in no backup and no salvage backup", i)
		}
	}
	return w.err
}

func (w *World) describe() string {
	var b bytes.Buffer
	for _, n := range w.nodes {
		if n.m == nil {
			fmt.Fprintf(&b, "%s: down\n", n.name)
			continue
		}
		s, _ := json.Marshal(n.m.Status())
		fmt.Fprintf(&b, "%s: app %v, %d writes, %s\n", n.name, n.app, len(n.state), s)
	}
	return b.String()
}

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

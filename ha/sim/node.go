package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

// node is one simulated host: what survives a crash (disk, application, state)
// and the process that runs the core.
type node struct {
	w       *World
	name    string
	fencing ha.Fencing

	disk     ha.Journal
	app      bool
	state    []int // writes that the application's data holds
	staged   []int
	replaced []int
	swapped  bool

	m        *ha.Machine // nil: down
	process  int         // counts processes: answers to a dead one are dropped
	wake     int         // counts timers: only the last one is in force
	cut      bool        // off from the store
	inflight map[uint64]bool
}

// boot starts the agent.
func (n *node) boot() {
	if n.m != nil {
		return
	}
	n.process++
	n.inflight = map[uint64]bool{}
	n.w.trace("%s: the agent starts", n.name)
	n.m = ha.New(ha.Params{
		Cluster: "sim", Poll: 10 * time.Second, Random: randomReader{n.w}, Fencing: n.fencing,
		Self: ha.Peer{Name: n.name, URL: "http://" + n.name, Incarnation: fmt.Sprint(n.name, "#", n.process)},
	}, n.disk)
	n.step(ha.UseConfig{Frequency: ha.Duration(time.Minute)})
}

// crash kills the agent. With strict fencing its supervisor stops the
// application too.
func (n *node) crash() {
	if n.m == nil {
		return
	}
	n.w.trace("%s: the agent crashes", n.name)
	n.m = nil
	if n.fencing.Mode == ha.Strict {
		n.app = false
	}
}

func (n *node) step(ev ha.Event) {
	if n.m == nil || n.w.err != nil {
		return
	}
	now := ha.Now{Mono: n.w.now, Boot: n.w.now, Wall: time.Unix(0, 0).Add(n.w.now)}
	for _, e := range n.m.Step(now, ev) {
		n.carryOut(e)
		if n.m == nil {
			return
		}
	}
	n.wake++
	wake := n.wake
	if d, ok := n.m.Wake(); ok {
		n.w.after(max(d, time.Millisecond), func() {
			if n.wake == wake {
				n.step(ha.Tick{})
			}
		})
	}
}

// later delivers an answer to this process, unless it has died meanwhile.
func (n *node) later(d time.Duration, done func() ha.Done) {
	process := n.process
	n.w.after(d, func() {
		if n.process == process && n.m != nil {
			n.step(done())
		}
	})
}

func (n *node) carryOut(e ha.Effect) {
	w := n.w
	switch e := e.(type) {
	case ha.Save:
		crash := n.faulty(0.003)
		if !crash || w.chance(0.5) { // after, or before, the journal was durable
			n.disk = e.Journal
		}
		if crash {
			n.crash()
			w.after(w.between(time.Second, time.Minute), n.boot)
		}
	case ha.Read:
		n.read(e)
	case ha.Write:
		n.write(e)
	case ha.StartApp:
		n.later(w.between(100*time.Millisecond, 2*time.Second), func() ha.Done {
			w.checkStart(n)
			n.app = true
			w.trace("%s: application started", n.name)
			return ha.Done{ID: e.ID}
		})
	case ha.StopApp:
		n.later(w.between(100*time.Millisecond, 5*time.Second), func() ha.Done {
			n.app = false
			w.trace("%s: application stopped", n.name)
			return ha.Done{ID: e.ID}
		})
	case ha.Cancel:
		delete(n.inflight, e.ID)
	case ha.Notify:
		n.notify(e)
	case ha.Answer:
		w.trace("%s: answer %s: %v", n.name, e.Request, e.Refused)
	case ha.Report:
		w.trace("%s: %s", n.name, e.Text)
	default:
		n.work(e)
	}
}

func (n *node) notify(e ha.Notify) {
	for _, o := range n.w.nodes {
		if o != n && (e.URL == "" || e.URL == "http://"+o.name) && !n.w.chance(0.3) {
			n.w.after(50*time.Millisecond, func() { o.step(ha.Notified{}) })
		}
	}
}

func (n *node) read(e ha.Read) {
	w := n.w
	n.later(w.between(5*time.Millisecond, 100*time.Millisecond), func() ha.Done {
		if n.cut || n.faulty(0.03) {
			return ha.Done{ID: e.ID, Outcome: ha.Unknown, Err: errLost}
		}
		o, ok := w.objects[e.Key]
		switch {
		case !ok:
			return ha.Done{ID: e.ID, Outcome: ha.Missing}
		case o.token == e.IfChanged:
			return ha.Done{ID: e.ID, Outcome: ha.NotModified}
		}
		v, err := ha.Decode(e.Kind, o.body)
		if err != nil {
			return ha.Done{ID: e.ID, Outcome: ha.Unverified, Err: err}
		}
		return ha.Done{ID: e.ID, Object: v, Token: o.token}
	})
}

func (n *node) faulty(p float64) bool { return n.w.opt.Faults && !n.w.healed && n.w.chance(p) }

// write carries out a conditional write, or loses it, or its answer, or lets
// it land long after the answer "unknown".
func (n *node) write(e ha.Write) {
	w := n.w
	body, err := json.Marshal(e.Object)
	if err != nil {
		panic(err)
	}
	object := json.RawMessage(body) // as it was when it was sent
	latency := w.between(5*time.Millisecond, 200*time.Millisecond)
	unknown := func() ha.Done { return ha.Done{ID: e.ID, Outcome: ha.Unknown, Err: errLost} }
	switch {
	case n.cut || n.faulty(0.03):
		n.later(latency, unknown)
	case n.faulty(0.03): // the answer is lost
		w.after(latency, func() { w.swap(e.Key, object, e.Cond) })
		n.later(2*latency, unknown)
	case n.faulty(0.03): // it lands after the client gave up
		w.after(w.between(time.Second, 2*time.Minute), func() { w.swap(e.Key, object, e.Cond) })
		n.later(latency, unknown)
	default:
		process := n.process
		w.after(latency, func() {
			token, ok := w.swap(e.Key, object, e.Cond)
			d := ha.Done{ID: e.ID, Token: token}
			if !ok {
				d.Outcome = ha.Lost
			}
			w.after(latency/2, func() {
				if n.process == process {
					n.step(d)
				}
			})
		})
	}
}

// work carries out what takes long, and may be cancelled.
func (n *node) work(e ha.Effect) {
	w := n.w
	var id uint64
	var do func() ha.Done
	switch e := e.(type) {
	case ha.MakeBackup:
		id, do = e.ID, func() ha.Done { return n.backup(e) }
	case ha.MakeSalvage:
		id, do = e.ID, func() ha.Done { return n.salvage(e) }
	case ha.Pull:
		id, do = e.ID, func() ha.Done { return ha.Done{ID: e.ID} }
	case ha.Stage:
		id, do = e.ID, func() ha.Done {
			n.staged = slices.Clone(w.backups[e.Ref.ID].state)
			return ha.Done{ID: e.ID}
		}
	case ha.Swap:
		id, do = e.ID, func() ha.Done {
			n.mustBeStopped("swap")
			n.replaced, n.state, n.swapped = n.state, n.staged, true
			return ha.Done{ID: e.ID}
		}
	case ha.Rollback:
		id, do = e.ID, func() ha.Done {
			if n.swapped {
				n.mustBeStopped("rollback")
				n.state, n.replaced, n.swapped = n.replaced, nil, false
			}
			return ha.Done{ID: e.ID}
		}
	case ha.Discard:
		id, do = e.ID, func() ha.Done {
			n.replaced, n.swapped = nil, false
			return ha.Done{ID: e.ID}
		}
	default:
		panic(fmt.Sprintf("unknown effect %T", e))
	}
	n.inflight[id] = true
	n.later(w.between(50*time.Millisecond, 20*time.Second), func() ha.Done {
		if !n.inflight[id] || n.faulty(0.02) {
			return ha.Done{ID: id, Outcome: ha.Failed, Err: errLost}
		}
		delete(n.inflight, id)
		return do()
	})
}

func (n *node) mustBeStopped(what string) {
	if n.app {
		_ = n.w.fail("%s: %s while the application runs", n.name, what)
	}
}

func (n *node) backup(e ha.MakeBackup) ha.Done {
	if n.cut {
		return ha.Done{ID: e.ID, Outcome: ha.Failed, Err: errLost}
	}
	ref := n.snapshot("backup", e.Epoch, e.Sequence, e.Previous)
	return ha.Done{ID: e.ID, Ref: ref, Changed: true}
}

func (n *node) salvage(e ha.MakeSalvage) ha.Done {
	if n.cut {
		return ha.Done{ID: e.ID, Outcome: ha.Failed, Err: errLost}
	}
	if e.Against != nil && slices.Equal(n.w.backups[e.Against.ID].state, n.state) {
		return ha.Done{ID: e.ID}
	}
	return ha.Done{ID: e.ID, Ref: n.snapshot("salvage", e.Epoch, e.Sequence, e.Against)}
}

func (n *node) snapshot(kind string, epoch, seq uint64, prev *backup.Ref) *backup.Ref {
	w := n.w
	w.seq++
	id := fmt.Sprintf("%s-e%d-s%d-%d", kind, epoch, seq, w.seq)
	ref := backup.Ref{ID: id, Epoch: epoch, Sequence: seq, Key: id, Digest: id}
	w.backups[id] = snapshot{state: slices.Clone(n.state), ref: ref, prev: prev}
	return &ref
}

type randomReader struct{ w *World }

func (r randomReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.w.rng.Uint32())
	}
	return len(p), nil
}

package sim

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

const (
	clusterID = "sim"
	poll      = 10 * time.Second
	genesis   = "genesis" // nonce and incarnation of the head that the world begins with
)

// World is one simulated cluster.
type World struct {
	opt       Options
	rng       *rand.Rand
	faults    *Faults
	fencing   ha.Fencing // at the beginning; the head says what is in force
	rehearsal ha.RehearsalPolicy

	now    time.Duration // true time
	queue  eventQueue
	serial int // names requests
	healed bool
	// tainted: a host was copied or put back, or its state given up; an
	// operator may be needed.
	tainted bool

	mishaps  mishaps
	operator operator
	check    checker

	store     *store
	streams   *streams // nil: nothing is shipped
	history   *history
	hosts     []*Host
	processes int
	journals  int               // that were written
	names     map[string]string // records of the instances' names: the incarnation that has each

	head        *ha.Head // as the store has it
	copies      []bucketCopy
	putBacks    int
	again       bool            // the head is one that was put back: nobody has written it since
	lastPutBack time.Duration   // 0: never
	deleted     map[string]bool // records that somebody has deleted
	lostHead    *object         // that somebody has deleted, until it is restored
	replica     *store          // what hosts that have gone astray look at

	backups   map[string]*stored
	published []string // in order
	writes    []*state // that applications acknowledged
}

// New makes a world with a cluster whose first host is the active.
func New(opt Options) *World {
	rng := rand.New(rand.NewPCG(opt.Seed, 0x756e64657273)) // decides everything
	w := &World{
		opt: opt, rng: rng, faults: opt.Faults,
		names: map[string]string{}, deleted: map[string]bool{}, backups: map[string]*stored{},
	}
	w.mishaps.w, w.operator.w, w.check = w, w, newChecker(w)
	w.store = &store{
		w: w, objects: map[string]object{}, nonces: map[blobstore.Token]string{},
		past: map[string][]version{},
	}
	w.history = &history{s: w.store, keys: map[string][]*operation{}, beaten: map[string]bool{}}
	hosts, mode := 2+rng.IntN(4), []ha.FencingMode{ha.Available, ha.Strict}[rng.IntN(2)]
	if drawn := draw(rng); w.faults == nil {
		w.faults = drawn
	}
	if t := &w.faults.Trouble; opt.Copies {
		t.Copy, t.Rollback, t.Revert = t.Copy+1, t.Rollback+1, t.Revert+2
	}
	if opt.Hosts > 0 {
		hosts = opt.Hosts
	}
	w.rehearsal = drawRehearsal(w)
	w.fencing = ha.DefaultConfig().Fencing
	if w.fencing.Mode = opt.Fencing; opt.Fencing == "" {
		w.fencing.Mode = mode
	}
	for i := range hosts {
		name := fmt.Sprintf("host-%c", 'a'+i)
		h := w.newHost(name, name)
		if w.faults.Unstoppable > 0 && w.fencing.Mode != ha.Strict && w.chance(w.faults.Unstoppable) {
			h.leaveToPeople()
		}
	}
	first := w.hosts[0]
	first.ran[genesis] = true
	w.store.put(ha.HeadKey, &ha.Head{
		Format: ha.Format, Cluster: clusterID, Epoch: 1, Rev: 1, Nonce: genesis,
		Active: ha.Peer{Name: first.disk.name, Incarnation: genesis}, Config: "config-0", Fencing: w.fencing,
	})
	first.disk.journal = ha.Journal{Role: ha.RoleActive, Epoch: 1, First: true, Last: ha.Position{Epoch: 1, Rev: 1, Nonce: genesis}}
	if opt.Streams != nil {
		w.streams = newStreams(w)
	}
	for _, h := range w.hosts {
		h.boot()
	}
	return w
}

// Run lets trouble happen for the duration, heals, and waits for the cluster
// to come to rest. It returns the first promise that did not hold, a
// *Violation.
func (w *World) Run() error {
	w.trace("%d hosts, fencing %s, faults %+v", len(w.hosts), w.fencing.Mode, *w.faults)
	w.after(0, w.application)
	w.after(w.between(5*time.Second, 40*time.Second), w.operator.act)
	if w.faults.Every > 0 {
		w.after(w.between(time.Second, w.faults.Every), w.mishaps.trouble)
	}
	w.after(w.opt.Duration, w.heal)
	for w.check.err == nil && w.queue.Len() > 0 {
		e := w.queue.next()
		w.now = e.at
		e.do()
		w.check.fences()
	}
	return w.check.err
}

func (w *World) trace(format string, args ...any) {
	if w.opt.Trace != nil {
		w.opt.Trace("%10v  "+format, append([]any{w.now.Round(time.Millisecond)}, args...)...)
	}
}

// between draws a time.
func (w *World) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rng.Int64N(int64(max(0, hi-lo))+1))
}

func (w *World) chance(p float64) bool { return w.rng.Float64() < p }

// fails draws whether something goes wrong that does so with probability p.
func (w *World) fails(p float64) bool { return p > 0 && !w.healed && w.chance(p) }

func (w *World) after(d time.Duration, do func()) { w.queue.add(w.now+d, do) }

func (w *World) pick(hosts []*Host) *Host { return hosts[w.rng.IntN(len(hosts))] }

// random is the randomness that a process is given.
func (w *World) random() *rand.ChaCha8 {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], w.rng.Uint64())
	return rand.NewChaCha8(seed)
}

// keep puts a backup into the bucket.
func (w *World) keep(kind string, epoch, seq uint64, previous *backup.Ref, s *state) *backup.Ref {
	if s.broken() {
		w.check.fail(Restore, "a backup is made of a half-swapped or damaged state")
	}
	id := fmt.Sprintf("%s-e%d-s%d-%d", kind, epoch, seq, len(w.backups))
	ref := backup.Ref{ID: id, Epoch: epoch, Sequence: seq, Key: id, Digest: id}
	w.backups[id] = &stored{state: s, ref: ref, previous: previous}
	return &ref
}

func refID(r *backup.Ref) string {
	if r == nil {
		return "none"
	}
	return r.ID
}

// application has every running application acknowledge a write now and then.
func (w *World) application() {
	if w.healed {
		return
	}
	for _, h := range w.hosts {
		if h.foreign && !h.asleep && !h.gone {
			h.disk.state = h.disk.state.add(-len(w.writes) - 1) // nobody was promised anything of it
		}
		if h.executing() && !h.gone {
			h.disk.state = h.disk.state.add(len(w.writes) + 1)
			w.writes = append(w.writes, h.disk.state)
		}
	}
	w.after(500*time.Millisecond, w.application)
}

// describe says how every host is, for the report of a failure.
func (w *World) describe() string {
	var b bytes.Buffer
	for _, h := range w.hosts {
		fmt.Fprintf(&b, "%s (%s): app %v, depth %d", h.id, h.disk.name, h.app, h.disk.state.depth)
		if h.proc == nil {
			fmt.Fprintf(&b, ", down (locked %v)\n", h.locked)
			continue
		}
		s, err := json.Marshal(h.proc.m.Status())
		fmt.Fprintf(&b, ", %s %v\n", s, err)
		if ship := h.proc.ship; ship != nil {
			fmt.Fprintf(&b, "  ships %s up to %d, told %d, over %v\n", ship.stream.ID, ship.tip.To, ship.told, ship.over)
		}

	}
	return b.String()
}

package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// Host is one simulated machine, with one instance of the cluster on it.
type Host struct {
	w     *World
	id    string // of the machine
	clock clock
	disk  disk
	proc  *Process // nil: the agent is down

	app         bool          // the application runs
	foreign     bool          // somebody else has started the application, on a standby
	unstoppable bool          // nothing can stop the application but people
	gone        bool          // the volume of the application's data is not mounted
	astray      bool          // it looks at a replica of the bucket
	proxy       *proxy        // what answers its reads; nil: the store does
	stale       bool          // something else than the store has answered its reads
	back        time.Duration // when it last came back from there
	cut         cut           // from the store
	deaf        map[*Host]bool
	writes      diskState     // of the data folder
	stopped     bool          // SIGSTOP: the agent stands still, its children and the application go on
	asleep      bool          // suspended: everything stands still
	off         bool          // the machine is down, for a reboot
	fellAsleep  time.Duration // when it last was
	deferred    []func()      // what goes on when the host wakes up
	override    *Process      // the one under which an operator started the application without the bucket
	stuck       bool          // what a swap replaced here can never be set aside
	waived      bool          // an operator gave up what a promotion replaces
	locked      bool          // the agent has ended for good: its name is another's

	snapshots []disk
	disks     int             // how often the disk was put back to a snapshot; a copied host has one more
	ran       map[string]bool // incarnations of the processes that ran here
	fence     fence

	streamsWell time.Duration // since when requests for parts of streams are answered
	unshipped   time.Duration // when it last had a stream to go on with, or nothing to ship

	staged, demoted time.Duration // when the last restore of a promotion, and the last demote hook, ended
}

// disk is what a host keeps through a crash and a reboot.
type disk struct {
	name     string // of the instance; a copied host has its original's
	journal  ha.Journal
	state    *state // the application's data
	stage    stage
	replaced *state
	swapped  bool
	givenUp  bool // replaced was, on an operator's word
	cache    map[string]bool
	rotten   map[string]bool // of the cache: what its disk returns is not what was written

	rehearsed ha.Rehearsed // the newest one
}

func (d disk) clone() disk {
	d.cache, d.rotten = maps.Clone(d.cache), maps.Clone(d.rotten)
	d.journal.Incarnations = slices.Clone(d.journal.Incarnations)
	return d
}

// cut is how a host is cut off from the store.
type cut int

const (
	cutNot     cut = iota
	cutBoth        // nothing gets through
	cutAnswers     // requests arrive, answers do not
)

func (w *World) newHost(id, name string) *Host {
	drift := 2*w.rng.Float64() - 1
	h := &Host{
		w: w, id: id,
		clock: clock{
			rate: 1 + drift*w.faults.Drift, booted: w.now - w.between(0, time.Hour),
			skew: w.between(-48*time.Hour, 48*time.Hour),
		},
		disk: disk{name: name, state: empty(), cache: map[string]bool{}, rotten: map[string]bool{}},
		deaf: map[*Host]bool{}, ran: map[string]bool{},
	}
	h.stuck = w.faults.Stuck > 0 && w.chance(w.faults.Stuck)
	w.hosts = append(w.hosts, h)
	return h
}

// frozen reports whether the agent stands still.
func (h *Host) frozen() bool { return h.stopped || h.asleep }

// executing reports whether the application can write now.
func (h *Host) executing() bool { return h.app && !h.asleep }

// after runs do once d has passed on the host's own clock, while it is awake.
func (h *Host) after(d time.Duration, do func()) {
	h.w.after(h.clock.lasts(d), func() { h.awake(do) })
}

func (h *Host) awake(do func()) {
	if h.asleep {
		h.deferred = append(h.deferred, do)
		return
	}
	do()
}

// Process is one run of a host's agent.
type Process struct {
	h           *Host
	serial      int
	incarnation string
	born        time.Duration
	m           *ha.Machine
	run         Runner

	known    []string // incarnations that the data folder had when it started
	begun    ha.Journal
	admitted bool // may use the bucket under the instance's name
	mute     bool // leaves the record of its name alone
	blind    bool // does not look who has a source open: a mutation

	flaws     flaws
	ship      *shipper // nil: nothing is shipped
	shipUntil ha.Now
	leaving   bool

	barrier ha.Barrier
	wake    int // counts timers: only the last one is in force
	tasks   map[uint64]*task
	backlog []ha.Event // what came while the process stood still
}

// boot starts the agent, unless it runs.
func (h *Host) boot() {
	if h.asleep {
		h.deferred = append(h.deferred, h.boot)
		return
	}
	if h.proc != nil || h.locked || h.off {
		return
	}
	if h.writes != diskWell {
		h.after(time.Second, h.boot) // it waits for the disk, or ends at once and is started again
		return
	}
	w := h.w
	w.processes++
	p := &Process{
		h: h, serial: w.processes, incarnation: fmt.Sprint(h.id, "#", w.processes),
		begun: h.disk.journal, known: slices.Concat(h.disk.journal.Former, h.disk.journal.Incarnations), tasks: map[uint64]*task{},
	}
	h.disk.journal.Incarnations = append(slices.Clone(h.disk.journal.Incarnations), p.incarnation)
	h.stopped = false
	p.born, h.fence.resumed = w.now, w.now
	h.unwell(w.now)
	if p.admit() == refusedName {
		w.trace("%s: the agent ends: the name %s is another's", h.id, h.disk.name)
		h.lock()
		return
	}
	w.trace("%s: agent %s starts", h.id, p.incarnation)
	h.proc, h.ran[p.incarnation] = p, true
	p.run = p.carryOut
	if w.opt.Wrap != nil {
		p.run = w.opt.Wrap(p, p.run)
	}
	p.run = w.history.record(p, p.run)
	p.m = ha.New(ha.Params{
		Cluster: clusterID, Boot: fmt.Sprint(h.id, " since ", h.clock.booted), Poll: poll, Random: w.random(), Fencing: w.fencing, Cached: h.newestCached(),
		Rehearsal: w.rehearsal, Rehearsed: h.lastRehearsal(), Swapped: h.disk.swapped, Unstoppable: h.unstoppable,
		Self: ha.Peer{Name: h.disk.name, URL: "http://" + h.disk.name, Incarnation: p.incarnation},
	}, h.disk.journal)
	p.step(ha.UseConfig{Frequency: ha.Duration(time.Minute)})
	if w.on() {
		p.step(ha.UseStreams{Sources: []string{db}})
	}
	p.registered()
	if !p.admitted {
		h.after(admitEvery, p.tryAgain)
	}
	h.after(registerEvery, p.register)
}

// crash kills the agent. What it had under way is done, half done or not. With
// strict fencing its supervisor, where it has one, stops the application too.
func (h *Host) crash(why string) {
	p := h.proc
	if p == nil {
		return
	}
	h.w.trace("%s: %s", h.id, why)
	h.proc, h.stopped = nil, false
	for _, id := range slices.Sorted(maps.Keys(p.tasks)) {
		if t := p.tasks[id]; h.w.chance(0.5) {
			t.do()
		} else if t.half != nil && h.w.chance(0.5) {
			t.half()
		}
	}
	if (h.fence.under.Mode == ha.Strict || h.w.head.Fencing.Mode == ha.Strict) && !h.w.fails(h.w.faults.Orphan) {
		h.app = false
	}
	h.unwell(h.w.now)
}

// lock is the end of an agent that found its name taken.
func (h *Host) lock() {
	h.crash("the agent ends")
	h.locked = true
	h.w.after(h.w.between(time.Minute, 5*time.Minute), h.rejoin)
}

// reboot restarts the machine: the application is gone, the clocks begin anew.
func (h *Host) reboot() {
	h.crash("the host goes down")
	h.app, h.foreign, h.asleep, h.deferred = false, false, false, nil
	if !h.off {
		h.off = true
		h.w.after(h.w.between(10*time.Second, 3*time.Minute), h.up)
	}
}

// up ends a reboot.
func (h *Host) up() {
	if !h.off {
		return
	}
	h.off = false
	h.clock.booted, h.clock.slept = h.w.now, 0
	h.boot()
}

func (p *Process) alive() bool { return p.h.proc == p && p.h.w.check.err == nil }

// deliver tells the machine something, or keeps it until the process goes on.
func (p *Process) deliver(ev ha.Event) {
	switch {
	case !p.alive():
	case p.h.frozen():
		p.backlog = append(p.backlog, ev)
	default:
		p.step(ev)
	}
}

func (p *Process) step(ev ha.Event) {
	if _, ok := ev.(ha.Done); ok && p.crashPoint() {
		return // what it did is done, and nobody has heard
	}
	now := p.clock()
	if !p.obey(p.barrier.Add(now.Mono, p.m.Handle(now, ev)...)) {
		return
	}
	p.wake++
	wake := p.wake
	if d, ok := p.m.Wake(); ok {
		p.h.after(max(d, time.Millisecond), func() {
			if p.wake == wake {
				p.deliver(ha.Tick{})
			}
		})
	}
}

// obey carries out effects. It reports whether the process lives.
func (p *Process) obey(effects []ha.Effect) bool {
	w := p.h.w
	for _, e := range effects {
		if p.crashPoint() {
			return false
		}
		w.check.effect(p, e)
		done := func(d ha.Done) { p.deliver(d) }
		if _, ok := e.(ha.Save); ok {
			done = p.saved
		}
		p.run(e, done)
		if !p.alive() || p.crashPoint() {
			return false
		}
	}
	for _, d := range p.barrier.Ended() {
		p.h.after(time.Millisecond, func() { p.deliver(d) })
	}
	return true
}

// crashPoint kills the process now and then, more often while its journal
// holds something unfinished.
func (p *Process) crashPoint() bool {
	w, j := p.h.w, &p.h.disk.journal
	share := w.faults.Crash
	if j.Promotion == nil && j.Demotion == nil && j.Handover == nil {
		share /= 20
	}
	if !w.fails(share) {
		return false
	}
	p.h.crash("the agent crashes between two steps")
	w.after(w.between(time.Second, 2*time.Minute), p.h.boot)
	return true
}

// thaw lets the agent go on: its timers and whatever came meanwhile.
func (h *Host) thaw() {
	deferred := h.deferred
	h.deferred = nil
	for _, do := range deferred {
		h.awake(do)
	}
	p := h.proc
	if p == nil {
		return
	}
	backlog := p.backlog
	p.backlog = nil
	// A process looks at the clock at least this often; what came may be first.
	h.after(h.w.between(0, wakeEvery), func() { p.deliver(ha.Tick{}) })
	for _, ev := range backlog {
		p.deliver(ev)
	}
}

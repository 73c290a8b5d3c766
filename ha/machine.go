package ha

import (
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
)

// Params is what a Machine is given when its process starts.
type Params struct {
	Cluster string
	Self    Peer          // with the incarnation of this process
	Boot    string        // names the host's boot, since which its boot-time clock runs
	Poll    time.Duration // how often the bucket is looked at
	Random  io.Reader     // nonces
	Fencing Fencing       // until a head says otherwise
	Cached  *backup.Ref   // the newest cached backup; nil: none is
	// What the instance knows of rehearsals when its process starts.
	Rehearsal RehearsalPolicy
	Rehearsed Rehearsed
	// Swapped says that a swap was neither undone nor finished.
	Swapped bool
	// Unstoppable says that nothing on this host can stop the application but people.
	Unstoppable bool
}

// Intervals that no user sets.
const (
	retryFirst    = time.Second            // after a failed request to the store; doubles up to the poll interval
	workRetry     = 5 * time.Second        // after a failed piece of work; doubles up to workRetryMax
	workRetryMax  = time.Minute            //
	notifiedEvery = 100 * time.Millisecond // a notification costs at most one poll in this time
	handoverPoll  = time.Second            // a candidate's look at the head, and at the acknowledgement
	rehearseRetry = time.Minute            // after a failed rehearsal of the same backup; doubles up to rehearseMax
	rehearseMax   = time.Hour              //
)

// Machine is one instance's part of the protocol: a deterministic step
// function. It does no I/O, reads no clock and starts no goroutine; what it
// wants done it returns as effects, and what happened it is told as events. It
// is not safe for concurrent use.
type Machine struct {
	p Params
	j Journal

	started bool
	now     Now
	t       instant // this instance's own time line
	wake    instant

	out     []Effect
	changes int         // counts what a pass over the lanes decided
	passed  JournalStep // since the journal was saved last
	id      uint64
	waiting map[uint64]func(Done)

	// A lane has at most one effect under way; 0 means idle.
	control, work, pull, appLane uint64

	older      older       // what the bucket shows that is older than what was seen; none: it does not
	recovering *recovering // nil: none is under way
	head       *Head       // as last seen; nil: must be read (again)
	headToken  blobstore.Token
	headSince  instant // when this version was first seen
	lastHead   *Head   // kept for people while head is being read again
	alive      bool    // the head was seen to change since the process started
	lease      leaseView

	retryAt   instant       // no request to the store before
	retryWait time.Duration //
	failing   bool          // the last request to the store failed
	failSince instant       //
	failure   string        // why it failed last, in a few words

	lost    map[string]blobstore.Condition // under which writes have lost, by key
	stale   map[string]stale               // older versions that were shown lately, by key
	headErr string                         // why the head cannot be used

	leading   bool     // this process has confirmed a head of its own, and none has replaced it
	sentAt    instant  // when the first unresolved attempt to write the head was sent
	attempts  Attempts // to write the head, of this process's, for what is pending
	confirmed instant  // when the last confirmed write of the head was sent, by a process before this one perhaps
	dated     bool     // confirmed is known, or known to be too long ago
	refused   string   // why this process must not be active though its journal says so
	kept      bool     // this process has seen to what a refused one owes
	override  bool     // an operator started the application without the bucket
	nextPoll  instant
	lastPoll  instant
	leaseNext bool // the lease is to be looked at after the head

	app         appState
	appStarting bool
	appDoubt    bool     // the hook under way says nothing any more
	unstopped   bool     // it was to stop last, and nothing here can stop it
	appFailed   appState // what it could not be brought to be last
	appRetry    instant
	appWait     time.Duration
	appErr      string

	frequency  time.Duration
	nextBackup instant
	pauseEnd   instant     // when the pause of the schedule is over; never: somebody resumes it
	want       *wish       // a backup asked for
	making     *wish       // the backup being made
	publish    *backup.Ref // made, not yet named by the head
	foundAt    instant     // when it was last known that the bucket has what was made; never: not to this process
	config     *SetConfig  // to be put into force
	reload     string      // the request for a change of sources
	backupErr  string
	lastStart  instant // when the last backup of this process began; never: none has

	pulled    *backup.Ref // the newest backup that is in the cache
	pullErr   string
	workAt    instant
	workWait  time.Duration
	workLabel string
	// What is under way was told to make way for a promotion.
	yielding, pullYielding bool

	rehearsed    Rehearsed // the newest rehearsal
	rehearsedAt  instant   // when it began; never: before this process did
	rehearseAt   instant   // no other of the same backup before
	rehearseWait time.Duration
	staged       bool // a backup may be staged, or half staged

	rollbackErr  string  // why the promotion could not be undone, the last time
	discardErr   string  // why what was replaced could not be set aside, the last time
	replacedLeft bool    // what a committed swap replaced is still to be set aside
	discardAt    instant // not before
	discardWait  time.Duration

	salvageAt   instant
	salvageWait time.Duration

	leaving  bool   // the process is about to end; it starts nothing any more
	farewell string // the request for that, until it is answered

	hold       hold
	begun      string // the promotion that an operator asked this very process for
	commitStep commitStep
	stepSince  instant
	ackSince   instant
	finishRead instant
	replaced   instant // when the version that the commit replaces was first seen
	stopSince  instant // handing over: when the application began to stop; never: not known
	unhanded   instant // taking over: when the last look was sent that found nothing handed over
	heirSince  instant // since when this heir knows that it is one; never: that was before this process
	downSince  instant // taking over: since when the application is down; never: not known
	result     *Result
}

// Result is how the last promotion on this instance ended.
type Result struct {
	ID       string    `json:"id"`
	Promoted bool      `json:"promoted"`
	Error    string    `json:"error,omitempty"`
	Backup   string    `json:"backup,omitempty"`
	Epoch    uint64    `json:"epoch,omitempty"`
	Steps    []Step    `json:"steps,omitempty"`
	Downtime Duration  `json:"downtime,omitempty"` // of the application in a switchover; 0: not known
	Time     time.Time `json:"time"`
}

// New makes the machine of a process that starts with journal j.
func New(p Params, j Journal) *Machine {
	m := &Machine{
		p: p, j: j.clone(), waiting: make(map[uint64]func(Done)), lost: make(map[string]blobstore.Condition), stale: make(map[string]stale), lastStart: never, stopSince: never, heirSince: never, downSince: never, foundAt: never,
		pulled: p.Cached, rehearsed: p.Rehearsed, rehearsedAt: never, staged: true,
	}
	m.replacedLeft = p.Swapped && !j.Promotion.swapping()
	m.refused = j.Doubt
	m.j.Format, m.j.Cluster, m.j.Instance = Format, p.Cluster, p.Self.Name
	if m.j.Role == "" {
		m.j.Role = RoleStandby
	}
	return m
}

// Step tells the machine what happened at now, and returns what to do.
func (m *Machine) Step(now Now, ev Event) []Effect {
	m.advance(now)
	m.out = nil
	if !m.started {
		m.started = true
		m.recover()
	}
	m.handle(ev)
	// What one lane decides can set another lane going.
	for before := -1; before != m.changes; {
		before = m.changes
		m.wake = never
		m.planPause()
		m.planHandover()
		m.planHolder()
		m.planApp()
		m.planWork()
		m.planPull()
		m.planControl()
		m.planFarewell()
	}
	return m.out
}

// Wake says how long after the last Step the next Tick is due; false when
// nothing waits for time to pass.
func (m *Machine) Wake() (time.Duration, bool) {
	if m.wake == never {
		return 0, false
	}
	return max(0, m.wake-m.t), true
}

// Journal is a copy of what the machine would save now.
func (m *Machine) Journal() Journal { return m.j.clone() }

func (m *Machine) advance(now Now) {
	if m.started {
		m.t += max(0, now.Mono-m.now.Mono, now.Boot-m.now.Boot)
	}
	m.now = now
}

func (m *Machine) handle(ev Event) {
	switch ev := ev.(type) {
	case Done:
		then, ok := m.answered(ev.ID)
		if !ok {
			return
		}
		m.requestEnded(ev.ID)
		m.workEnded(ev.ID)
		m.pullEnded(ev.ID)
		m.hookEnded(ev.ID)
		then(ev)
	case Promote:
		m.onPromote(ev)
	case Recover:
		m.onRecover(ev)
	case CancelPromotion:
		m.onCancel(ev)
	case RequestBackup:
		m.onRequestBackup(ev)
	case SetConfig:
		m.onSetConfig(ev)
	case UseConfig:
		m.setFrequency(ev.Frequency)
	case UsePolicy:
		m.onUsePolicy(ev)
	case ChangeSources:
		m.onChangeSources(ev)
	case SetPaused:
		m.onSetPaused(ev)
	case StartAnyway:
		m.onStartAnyway(ev)
	case Farewell:
		m.onFarewell(ev)
	case Registered:
		m.j.Settle(m.p.Self.Incarnation) // saved with whatever is saved next
	case Notified:
		m.notified()
	case Tick:
	}
}

// recover settles what a journal from before a crash leaves half done, as far
// as that needs no one else.
func (m *Machine) recover() {
	if m.frozen() {
		m.report(Alarm, "identity", "not active: %s", m.j.Doubt)
		return
	}
	if h := m.j.Handover; h != nil && h.Phase != HandoverSent && h.Phase != HandoverReturning {
		m.j.Handover = nil // the head was never handed over
	}
	m.recoverPause()
	m.recoverRenewal()
	if p := m.j.Promotion; p != nil {
		// A lease that a dead process took is not renewed; it is released.
		switch {
		case p.Phase == PhaseFinish, p.Phase == PhaseRollback:
		case p.Phase == PhaseCommit && m.j.Pending != nil:
			// The commit may have landed: resolved before anything else.
		default:
			m.abort("the agent was restarted")
		}
	}
}

// emit appends an effect.
func (m *Machine) emit(e Effect) {
	m.changes++
	m.out = append(m.out, e)
}

// passes says what has happened that the next version of the journal tells.
func (m *Machine) passes(step JournalStep) { m.passed = m.passed.and(step) }

// save makes the journal durable before whatever is emitted next, and says what for.
func (m *Machine) save(step JournalStep) {
	m.changes++
	m.keepPause()
	m.passes(step)
	s := Save{Journal: m.j.clone(), Step: m.passed}
	m.passed = ""
	if n := len(m.out); n > 0 {
		if before, ok := m.out[n-1].(Save); ok {
			m.out[n-1] = before.then(s)
			return
		}
	}
	m.emit(s)
}

// expect gives an effect an id and says what happens when it is done.
func (m *Machine) expect(then func(Done)) uint64 {
	m.id++
	m.waiting[m.id] = then
	return m.id
}

// answered returns, once, what happens when an effect is done.
func (m *Machine) answered(id uint64) (then func(Done), ok bool) {
	then, ok = m.waiting[id]
	delete(m.waiting, id)
	return then, ok
}

func (m *Machine) wakeAt(t instant) { m.wake = min(m.wake, max(t, m.t)) }

// due reports whether t has come, and sees to being woken when it has not.
func (m *Machine) due(t instant) bool {
	if m.t >= t {
		return true
	}
	m.wakeAt(t)
	return false
}

func (m *Machine) report(level Level, kind, format string, args ...any) {
	by := ""
	if p := m.j.Promotion; p != nil && kind == "promotion" {
		by = p.By
	}
	m.reportBy(by, level, kind, format, args...)
}

// reportBy is report for what happens on somebody's word.
func (m *Machine) reportBy(by string, level Level, kind, format string, args ...any) {
	m.emit(Report{Level: level, Kind: kind, By: by, Text: fmt.Sprintf(format, args...)})
}

func (m *Machine) answer(request string, ref *backup.Ref, err error) {
	if request != "" {
		m.emit(Answer{Request: request, Ref: ref, Refused: err})
	}
}

func (m *Machine) refuse(request, format string, args ...any) {
	m.answer(request, nil, &Refusal{Reason: fmt.Sprintf(format, args...)})
}

// random is 16 random bytes in hex. A source of randomness that fails leaves
// nothing safe to do.
func (m *Machine) random() string {
	var b [16]byte
	if _, err := io.ReadFull(m.p.Random, b[:]); err != nil {
		panic(fmt.Sprintf("read random bytes: %v", err))
	}
	return hex.EncodeToString(b[:])
}

func (m *Machine) fencing() Fencing {
	if h := m.knownHead(); h != nil {
		return h.Fencing
	}
	return m.p.Fencing
}

// knownHead is the head as last seen, while it is being read again too.
func (m *Machine) knownHead() *Head {
	if m.head != nil {
		return m.head
	}
	return m.lastHead
}

// silentAfter is how long an unchanged head or lease speaks for a holder that
// is gone.
func (m *Machine) silentAfter() time.Duration {
	f := m.fencing()
	return time.Duration(f.TTL) + time.Duration(f.Margin)
}

package ha

import (
	"io"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/stream"
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
	handoverPoll  = time.Second            // a candidate's look at the head, at least, and at the acknowledgement
	rehearseRetry = time.Minute            // after a failed rehearsal of the same backup; doubles up to rehearseMax
	rehearseMax   = time.Hour              //
)

// Machine is one instance's part of the protocol: a deterministic step
// function. It does no I/O, reads no clock and starts no goroutine; what it
// wants done it returns as effects, and what happened it is told as events. It
// is composed of lanes, and what one lane decides can set another one going. It is
// not safe for concurrent use.
type Machine struct {
	*core
	head       *headLane
	poll       *pollLane
	writing    *writingLane
	control    *controlLane
	lease      *leaseLane
	identity   *identityLane
	app        *appLane
	schedule   *scheduleLane
	work       *workLane
	pull       *pullLane
	sources    *sourcesLane
	rehearsal  *rehearsalLane
	rejoin     *rejoinLane
	restore    *restoreLane
	promotion  *promotionLane
	commit     *commitLane
	wait       *waitLane
	handover   *handoverLane
	demotion   *demotionLane
	recovery   *recoveryLane
	farewell   *farewellLane
	streams    *streamsLane
	checkpoint *checkpointLane
}

// Result is how the last promotion on this instance ended.
type Result struct {
	ID       string `json:"id"`
	Promoted bool   `json:"promoted"`
	Error    string `json:"error,omitempty"`
	Backup   string `json:"backup,omitempty"`
	// Moment is what the sources were brought to whose log has the time of each change.
	Moment   *time.Time `json:"moment,omitempty"`
	Epoch    uint64     `json:"epoch,omitempty"`
	Steps    []Step     `json:"steps,omitempty"`
	Downtime Duration   `json:"downtime,omitempty"` // of the application in a switchover; 0: not known
	Time     time.Time  `json:"time"`
}

// New makes the machine of a process that starts with journal j.
func New(p Params, j Journal) *Machine {
	j = j.clone()
	j.Format, j.Cluster, j.Instance = Format, p.Cluster, p.Self.Name
	if j.Role == "" {
		j.Role = RoleStandby
	}
	return compose(p, j)
}

// compose makes the lanes, and has each know those that it asks.
func compose(p Params, j Journal) *Machine {
	c := new(core)
	m := &Machine{
		core:       c,
		head:       new(headLane),
		poll:       new(pollLane),
		writing:    new(writingLane),
		control:    new(controlLane),
		lease:      new(leaseLane),
		identity:   new(identityLane),
		app:        new(appLane),
		schedule:   new(scheduleLane),
		work:       new(workLane),
		pull:       new(pullLane),
		sources:    new(sourcesLane),
		rehearsal:  new(rehearsalLane),
		rejoin:     new(rejoinLane),
		restore:    new(restoreLane),
		promotion:  new(promotionLane),
		commit:     new(commitLane),
		wait:       new(waitLane),
		handover:   new(handoverLane),
		demotion:   new(demotionLane),
		recovery:   new(recoveryLane),
		farewell:   new(farewellLane),
		streams:    new(streamsLane),
		checkpoint: new(checkpointLane),
	}
	*c = core{p: p, j: j, waiting: make(map[uint64]func(Done)), saving: m.schedule.keepPause}
	*m.checkpoint = checkpointLane{core: c, streams: m.streams}
	*m.head = headLane{core: c, control: m.control, identity: m.identity, poll: m.poll}
	*m.poll = pollLane{core: c}
	*m.writing = writingLane{core: c, head: m.head, control: m.control, identity: m.identity, app: m.app, schedule: m.schedule, commit: m.commit, handover: m.handover, recovery: m.recovery, farewell: m.farewell, poll: m.poll, streams: m.streams}
	*m.control = controlLane{core: c, head: m.head, lost: make(map[string]blobstore.Condition), stale: make(map[string]stale), foundAt: never}
	*m.lease = leaseLane{core: c, head: m.head, control: m.control, promotion: m.promotion, pull: m.pull}
	*m.identity = identityLane{core: c, head: m.head, control: m.control, lease: m.lease, schedule: m.schedule, work: m.work, restore: m.restore, promotion: m.promotion, demotion: m.demotion, recovery: m.recovery, refused: j.Doubt}
	*m.app = appLane{core: c, head: m.head, writing: m.writing, control: m.control, identity: m.identity, promotion: m.promotion, handover: m.handover, farewell: m.farewell}
	*m.schedule = scheduleLane{core: c, head: m.head, control: m.control, identity: m.identity, app: m.app, work: m.work, handover: m.handover, streams: m.streams, lastStart: never}
	*m.work = workLane{core: c, pull: m.pull}
	*m.pull = pullLane{core: c, head: m.head, work: m.work, sources: m.sources, farewell: m.farewell, newest: p.Cached}
	*m.sources = sourcesLane{core: c, work: m.work, rehearsal: m.rehearsal}
	*m.rehearsal = rehearsalLane{core: c, work: m.work, pull: m.pull, restore: m.restore, newest: p.Rehearsed, at: never, staged: true}
	*m.rejoin = rejoinLane{core: c, head: m.head, work: m.work, restore: m.restore, streams: m.streams}
	*m.restore = restoreLane{core: c, head: m.head, app: m.app, work: m.work, rehearsal: m.rehearsal, promotion: m.promotion, commit: m.commit, replacedLeft: p.Swapped && !j.Promotion.swapping()}
	*m.promotion = promotionLane{core: c, head: m.head, control: m.control, lease: m.lease, identity: m.identity, app: m.app, work: m.work, rehearsal: m.rehearsal, restore: m.restore, commit: m.commit, poll: m.poll, checkpoint: m.checkpoint, downSince: never}
	*m.commit = commitLane{core: c, head: m.head, writing: m.writing, control: m.control, lease: m.lease, identity: m.identity, app: m.app, restore: m.restore, promotion: m.promotion, wait: m.wait}
	*m.wait = waitLane{core: c, head: m.head, control: m.control, identity: m.identity, restore: m.restore, promotion: m.promotion, handover: m.handover}
	*m.handover = handoverLane{core: c, head: m.head, control: m.control, lease: m.lease, app: m.app, schedule: m.schedule, work: m.work, streams: m.streams, checkpoint: m.checkpoint, stopSince: never}
	*m.demotion = demotionLane{core: c, head: m.head, control: m.control, identity: m.identity, app: m.app, schedule: m.schedule, work: m.work, rejoin: m.rejoin, promotion: m.promotion}
	*m.recovery = recoveryLane{core: c, head: m.head, control: m.control, identity: m.identity, schedule: m.schedule, commit: m.commit, heirSince: never}
	*m.farewell = farewellLane{core: c, head: m.head, identity: m.identity, app: m.app, schedule: m.schedule, work: m.work}
	*m.streams = streamsLane{core: c, head: m.head, lease: m.lease, identity: m.identity, app: m.app, work: m.work, handover: m.handover, farewell: m.farewell, poll: m.poll, lookedAt: never,
		told: make(map[string]Stream), asked: make(map[string]stream.ID), ready: make(map[string]StreamReady), tips: make(map[string]Shipped), over: make(map[string]overStream), begun: make(map[string]stream.ID)}
	return m
}

// Handle tells the machine what happened at now, and returns what to do.
func (m *Machine) Handle(now Now, ev Event) []Effect {
	if m.advance(now) {
		m.recover()
	}
	m.handle(ev)
	for m.undecided() {
		m.schedule.planPause()
		m.handover.plan()
		m.recovery.planHolder()
		m.app.plan()
		m.streams.plan()
		m.planWork()
		m.pull.plan()
		m.planControl()
		m.farewell.plan()
	}
	return m.effects()
}

// Wake says how long after the last Handle the next Tick is due; false when
// nothing waits for time to pass.
func (m *Machine) Wake() (time.Duration, bool) { return m.untilWake() }

// Journal is a copy of what the machine would save now.
func (m *Machine) Journal() Journal { return m.j.clone() }

func (m *Machine) handle(ev Event) {
	switch ev := ev.(type) {
	case Done:
		then, ok := m.answered(ev.ID)
		if !ok {
			return
		}
		m.control.ended(ev.ID)
		m.work.ended(ev.ID)
		m.pull.ended(ev.ID)
		m.app.ended(ev.ID)
		then(ev)
	case Promote:
		m.promotion.request(ev)
	case Recover:
		m.recovery.request(ev)
	case CancelPromotion:
		m.promotion.cancel(ev)
	case RequestBackup:
		m.schedule.request(ev)
	case SetConfig:
		m.schedule.setConfig(ev)
	case UseConfig:
		m.schedule.setFrequency(ev.Frequency)
	case UsePolicy:
		m.app.usePolicy(ev)
	case ChangeSources:
		m.sources.request(ev)
	case SetPaused:
		m.schedule.setPaused(ev)
	case StartAnyway:
		m.app.startAnyway(ev)
	case Farewell:
		m.farewell.request(ev)
	case UseStreams:
		m.streams.use(ev)
	case StreamReady:
		m.streams.isReady(ev)
	case Shipped:
		m.streams.shipped(ev)
	case StreamClosed:
		m.streams.closed(ev)
	case StreamForked:
		m.streams.forked(ev)
	case Registered:
		m.j.Settle(m.p.Self.Incarnation) // saved with whatever is saved next
	case Notified:
		m.poll.notified()
	case Tick:
	}
}

// recover settles what a journal from before a crash leaves half done, as far
// as that needs no one else.
func (m *Machine) recover() {
	if m.identity.frozen() {
		m.report(Alarm, "identity", "not active: %s", m.j.Doubt)
		return
	}
	if h := m.j.Handover; h != nil && h.Phase != HandoverSent && h.Phase != HandoverReturning {
		m.j.Handover = nil // the head was never handed over
	}
	m.schedule.recoverPause()
	m.writing.recover()
	if p := m.j.Promotion; p != nil {
		// A lease that a dead process took is not renewed; it is released.
		switch {
		case p.Phase == PhaseFinish, p.Phase == PhaseRollback:
		case p.Phase == PhaseCommit && m.j.Pending != nil:
			// The commit may have landed: resolved before anything else.
		default:
			m.promotion.abort("the agent was restarted")
		}
	}
}

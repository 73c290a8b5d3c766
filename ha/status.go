package ha

import (
	"strconv"
	"time"
)

// Status is a snapshot of a machine, for people.
type Status struct {
	Role        Role          `json:"role"`
	Leading     bool          `json:"leading"` // active, and confirmed by the bucket in this process
	Epoch       uint64        `json:"epoch"`
	Head        *Head         `json:"head,omitempty"` // as last seen
	HeadAge     time.Duration `json:"-"`              // how long the head was seen unchanged
	HeadAlive   bool          `json:"-"`              // the head has changed under this process's eyes, and lately
	Bucket      string        `json:"bucket"`         // "ok", or what is wrong
	BucketSince time.Duration `json:"-"`              // for how long
	Refused     string        `json:"refused,omitempty"`
	Unkept      string        `json:"-"` // Journal.Unkept
	Owes        bool          `json:"-"` // this instance's state may be in no backup, or is being replaced
	GoesOn      bool          `json:"-"` // an active that goes on without the bucket, by any fencing that may be in force
	Override    bool          `json:"override,omitempty"`
	App         string        `json:"application"` // "running", "stopped", "" where that is not known
	// Unstoppable says that nothing on this host can stop the application but people.
	Unstoppable bool          `json:"unstoppable,omitempty"`
	AppError    string        `json:"application_error,omitempty"`
	AppUntil    time.Duration `json:"-"` // for how long it may run without another renewal; negative: without end
	Work        string        `json:"work,omitempty"`
	BackupError string        `json:"backup_error,omitempty"`
	PullError   string        `json:"pull_error,omitempty"`
	// WorkError is why what a promotion did could not be put back, or what it
	// replaced not be set aside, the last time that this was tried.
	WorkError  string           `json:"work_error,omitempty"`
	Pulled     string           `json:"pulled,omitempty"`
	Rehearsed  Rehearsed        `json:"rehearsal"` // the newest one
	NextBackup time.Duration    `json:"-"`         // until the next scheduled one; negative: none is planned
	Paused     *Pause           `json:"paused,omitempty"`
	PauseLeft  time.Duration    `json:"-"`    // until it ends by itself; negative: it does not
	Older      *OlderHead       `json:"-"`    // the bucket shows an older head than was seen; nil: it does not
	SeenHead   *Head            `json:"-"`    // the highest version of the head ever seen, where it is known
	Seen       Position         `json:"seen"` // the highest version of the head ever seen
	Lease      *Lease           `json:"lease,omitempty"`
	Handover   *HandoverJournal `json:"handover,omitempty"`
	Promotion  *Promotion       `json:"promotion,omitempty"`
	Demotion   *Demotion        `json:"demotion,omitempty"`
	Last       *Result          `json:"last_promotion,omitempty"`
	HeadSeen   bool             `json:"active_seen"` // the active has shown a sign of life since this process started
	Waiting    *Wait            `json:"-"`           // for others, in a promotion or handover under way
	// FailoverWait is how long a failover that began now would wait for the active
	// after its commit; nil: not at all.
	FailoverWait *Wait `json:"-"`
}

// NotRead is what Status says of a bucket that was not heard of yet.
const NotRead = "not read yet"

// Status describes the machine as of its last event.
func (m *Machine) Status() Status {
	j := m.j.clone()
	s := Status{
		Role: j.Role, Leading: m.identity.isLeading(), Epoch: j.Epoch,
		HeadAge: m.t - m.head.unchangedSince(), HeadAlive: m.head.wasAlive() && !m.head.silent(), HeadSeen: m.head.wasAlive(),
		Waiting: m.wait.forWhom(), FailoverWait: m.wait.ofFailover(),
		Bucket: "ok", Refused: m.identity.refusal(), Override: m.app.overridden(),
		App: string(m.app.known()), AppError: m.app.trouble(), AppUntil: m.app.until(), Work: m.work.names(),
		BackupError: m.schedule.trouble(), PullError: m.pull.trouble(), WorkError: m.restore.trouble(), Rehearsed: m.rehearsal.last(),
		Seen: j.Seen, SeenHead: j.SeenHead, NextBackup: m.schedule.untilNext(), PauseLeft: m.schedule.pauseLeft(), Paused: j.Paused, Lease: clone(m.lease.seen()), Handover: j.Handover,
		Promotion: j.Promotion, Demotion: j.Demotion, Last: clone(m.promotion.lastResult()),
	}
	if s.Unstoppable = m.p.Unstoppable; m.app.isUnstopped() && m.app.is(appStopped) {
		s.App = string(appUnknown)
	}
	_, strict := m.writing.fenceAt()
	s.GoesOn = j.Role == RoleActive && s.Refused == "" && j.Doubt == "" && !strict
	s.Unkept = j.Unkept
	s.Owes = m.identity.refusal() != "" || j.Demotion != nil || j.Promotion != nil || j.Missed != 0 || j.Role == RoleActive
	if h := m.head.olderOne().head; h != nil {
		s.Older = &OlderHead{Head: h, Seen: m.head.seen(h)}
	}
	if h := m.head.known(); h != nil {
		s.Head = clone(h)
		if j.Role == RoleStandby {
			s.Epoch = h.Epoch
		}
	}
	if m.pull.cached() != nil {
		s.Pulled = m.pull.cached().ID
	}
	if m.control.isFailing() {
		s.Bucket, s.BucketSince = m.control.trouble(), m.t-m.control.failingSince()
	} else if m.head.known() == nil {
		s.Bucket = NotRead
	}
	return s
}

func utoa(n uint64) string { return strconv.FormatUint(n, 10) }

func short(digest string) string { return digest[:min(len(digest), 12)] }

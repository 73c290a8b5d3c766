package ha

import (
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
)

// Effect is something that a Machine asks for. Effects are carried out in
// order: a Save is finished (and synced) before anything after it begins that
// depends on it (Barrier); the others run at the same time as one another. Each
// effect with an ID is answered by exactly one Done with that ID.
type Effect interface{ effect() }

// Save makes the journal durable. It is tried again until that has worked: what
// the machine would do next depends on it.
type Save struct {
	Journal Journal
	Step    JournalStep // what it is saved for
}

// then is one Save for two with nothing between them: the later one says all.
func (s Save) then(later Save) Save {
	later.Step = s.Step.and(later.Step)
	return later
}

// Read reads and verifies a control object. Done carries Object and Token, or
// Missing, NotModified, Unverified, Unknown.
type Read struct {
	ID        uint64
	Kind      Kind
	Key       string
	IfChanged blobstore.Token
}

// Write signs and writes a control object, once, without retries. Done carries
// Token, or Lost (the condition did not hold), or Failed where it is certain that
// nothing was written, and never will be, or Unknown for everything else.
type Write struct {
	ID     uint64
	Kind   Kind
	Key    string
	Object any
	Cond   blobstore.Condition
	Step   WriteStep // what it is for
}

// StartApp runs the promote hook. It is idempotent. Done carries OK or Failed.
type StartApp struct {
	ID     uint64
	Epoch  uint64
	Backup string
}

// StopApp runs the demote hook, and is done once the application is known to
// have stopped. It is idempotent. Done carries OK, with Unstopped where there is
// nothing that could stop it, or Failed.
type StopApp struct {
	ID    uint64
	Epoch uint64
	// Servers says that the servers of sources are to stop, too: nobody may count on it any
	// more that this instance is the active. Else they go on for now: what they hold is to be
	// shipped first.
	Servers bool
}

// Checkpoint has the servers of sources write to their disks what they hold, so that they stop
// soon: those of the application, and those that run on what is staged. It takes at most Most.
// Done carries OK: whoever could not still stops.
type Checkpoint struct {
	ID   uint64
	Most time.Duration
}

// MakeBackup snapshots every source and writes packs and manifest. Done
// carries OK with Ref and Changed, or Failed.
type MakeBackup struct {
	ID       uint64
	Epoch    uint64
	Sequence uint64
	Previous *backup.Ref
	Trigger  backup.Trigger
	By       string // who asked for it
	Reason   string
	First    bool // first of its epoch: times of reused packs are checked
	Config   string
}

// MakeSalvage makes a salvage backup of the present state if it differs from
// Against (or if Against is nil). Done carries OK, with Ref where one was
// made, or Failed.
type MakeSalvage struct {
	ID       uint64
	Epoch    uint64
	Sequence uint64
	Against  *backup.Ref
	// Ends are the streams that the successor has applied on top of Against, by source:
	// what is in them is not to be kept.
	Ends   map[string]Stream
	Config string
}

// Pull brings a backup into the cache. Done carries OK or Failed.
type Pull struct {
	ID  uint64
	Ref backup.Ref
}

// FindBackup looks whether the manifest of a backup is in the bucket. Done carries
// OK, Missing or Unknown.
type FindBackup struct {
	ID  uint64
	Ref backup.Ref
}

// Rehearse restores a cached backup beside the live state, verified and judged
// by the probe, and attests how that went. What is staged already is not staged
// again. After a failure the last backup that passed is staged. Done carries OK
// or Failed.
type Rehearse struct {
	ID  uint64
	Ref backup.Ref
}

// Rejoin stages what a former active has of its own, as far as its successor's log goes on
// from there: Ref is the backup that the successor has restored, and Ends are the streams that
// it has applied on top of that. The next rehearsal brings such a stage forward. Done carries
// OK, with a Note of what follows so, and of what does not and why ("": there is nothing that
// could), or Failed.
type Rejoin struct {
	ID   uint64
	Ref  backup.Ref
	Ends map[string]Stream
}

// Unstage drops what is staged. It is idempotent. Done carries OK or Failed.
type Unstage struct{ ID uint64 }

// Stage is Rehearse for a promotion: it does not spare the host, pulls a backup
// that is not cached, and takes a stage that has passed as it is. With
// AllowFailed the probe's word does not count. The log of the sources is applied up to
// Ends: that of the streams before each one, and its own, as far as they come after the
// backup; the own log of one that is Unbased is left out. Done carries OK, with a Note, or Failed.
//
// With a Moment the sources whose log has the time of each change are built anew, as they
// were then, and all others are as in the backup: the newest that is not later.
type Stage struct {
	ID          uint64
	Ref         backup.Ref
	AllowFailed bool
	Ends        map[string]Stream // by source; nil: the backup as it is
	Moment      *time.Time
}

// Swap puts the staged state into place and keeps what it replaces, unless
// somebody has open what it would replace, or has by then. Done carries OK, with
// a Note, or Failed; after Failed a Rollback follows.
type Swap struct{ ID uint64 }

// Rollback puts the replaced state back. It is idempotent. Done carries OK or
// Failed.
type Rollback struct{ ID uint64 }

// Discard sets the replaced state aside, for the agent to delete whenever that
// can be done. It is idempotent, and does nothing where there is none. Done
// carries OK or Failed.
type Discard struct{ ID uint64 }

// UseSources changes the sources, and drops what was staged of the old ones.
// Nothing else that takes long is under way, and no promotion, handover or
// demotion. Done carries OK or Failed; then the old ones stay.
type UseSources struct{ ID uint64 }

// Cancel makes an effect under way end soon, with a Done like any other.
type Cancel struct{ ID uint64 }

// Notify wakes peers: every standby, or one URL. Best effort, no answer.
type Notify struct {
	URL string // "" for all
	Ref *backup.Ref
}

// Answer ends a request.
type Answer struct {
	Request string
	Ref     *backup.Ref // the backup made
	Refused error       // nil: done; a *Refusal, or another error
}

// Report tells people what happened, once.
type Report struct {
	Level Level
	Kind  string // "promotion", "backup", "fencing", …
	By    string // on whose word; "": nobody asked for it
	Text  string
}

// Level is how much a Report matters.
type Level int

// Levels.
const (
	Info Level = iota
	Warn
	Alarm
)

func (Save) effect()        {}
func (Read) effect()        {}
func (Write) effect()       {}
func (StartApp) effect()    {}
func (StopApp) effect()     {}
func (Checkpoint) effect()  {}
func (MakeBackup) effect()  {}
func (MakeSalvage) effect() {}
func (Pull) effect()        {}
func (FindBackup) effect()  {}
func (Rehearse) effect()    {}
func (Rejoin) effect()      {}
func (Unstage) effect()     {}
func (Stage) effect()       {}
func (Swap) effect()        {}
func (Rollback) effect()    {}
func (Discard) effect()     {}
func (UseSources) effect()  {}
func (Cancel) effect()      {}
func (Notify) effect()      {}
func (Answer) effect()      {}
func (Report) effect()      {}

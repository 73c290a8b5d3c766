package ha

import (
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
)

// Event is something that a Machine is told.
type Event interface{ event() }

// Tick says that time has passed. It is due at Machine.Wake.
type Tick struct{}

// Outcome is how an effect ended.
type Outcome int

// Outcomes.
const (
	OK          Outcome = iota
	Failed              // it did not happen; Err says why
	Missing             // the object does not exist
	NotModified         // the object still has the token
	Unverified          // the object is there and its signature or form is wrong
	Lost                // the write's condition did not hold, and this attempt wrote nothing
	Unknown             // a read failed, or a write may or may not have happened, or may yet
)

// Done ends an effect.
type Done struct {
	ID      uint64
	Outcome Outcome
	Object  any // what Read read: *Head, *Lease, …
	Token   blobstore.Token
	Ref     *backup.Ref
	Changed bool
	// Unstopped says, of a StopApp, that nothing there can stop the application: it
	// is as it was.
	Unstopped bool
	Note      string // for people
	// Ends are streams that were closed, by source, with their end parts.
	Ends map[string]Stream
	// Sightings are what all instances see.
	Sightings []Sighting
	Err       error
}

// Promote asks for a promotion of this instance.
type Promote struct {
	Request string // also names the promotion; unique
	Mode    Mode   // "" is a switchover, refused when the active is silent
	// Chosen is the backup to restore; nil for the newest. Shown is the newest
	// that the operator was shown; nil when none was.
	Chosen, Shown *backup.Ref
	// Moment is what the sources are brought to whose log has the time of each change; the
	// others are as in Chosen, which it needs; nil: all are as in a backup.
	Moment     *time.Time
	By, Reason string
	// WaiveSalvage promotes an instance that still owes a salvage backup,
	// whose unreplicated state is then lost.
	WaiveSalvage bool
	// AllowFailedRehearsal promotes to a backup whose rehearsal failed.
	AllowFailedRehearsal bool
	// WithoutLog gives the logs of the sources up that come after the backup, where what
	// is in the bucket of them cannot be read.
	WithoutLog bool
	// HostIsOff is By's word that the old active's host is off: a failover does not
	// wait for its application to stop.
	HostIsOff bool
	// AppIsStopped is By's word that the old active's application is stopped, where
	// nothing but people can stop it.
	AppIsStopped bool
}

// CancelPromotion asks to give up a promotion that has not committed.
type CancelPromotion struct {
	Request string
	By      string
}

// RequestBackup asks for a one-off backup. Requests that come while a backup
// is being made share the next one.
type RequestBackup struct {
	Request    string
	Trigger    backup.Trigger
	By, Reason string
}

// SetConfig puts a configuration into force whose object is in the bucket.
type SetConfig struct {
	Request   string
	Digest    string
	Frequency Duration
	Fencing   Fencing
}

// UseConfig tells the machine what the configuration in force says.
type UseConfig struct{ Frequency Duration }

// UsePolicy tells the machine what the instance's own configuration says from now
// on (Params).
type UsePolicy struct {
	Rehearsal   RehearsalPolicy
	Unstoppable bool
}

// ChangeSources asks for a moment in which the sources can be changed. A later
// request takes the place of one that still waits for it.
type ChangeSources struct{ Request string }

// SetPaused pauses or resumes the schedule. A Pause with an Until lasts Left.
type SetPaused struct {
	Request string
	Pause   *Pause // nil: resume
}

// StartAnyway starts the application of an active that cannot reach the
// bucket, on an operator's word.
type StartAnyway struct {
	Request string
	By      string
}

// Farewell has the application stopped and, on the active, the head say so: the
// process is about to end in good order. It starts no application any more.
type Farewell struct{ Request string }

// Registered says that the record of this instance in the bucket is this
// process's: the incarnations before it need not be known any more.
type Registered struct{}

// Notified is a peer's wake-up. It carries no authority.
type Notified struct{}

func (Tick) event()            {}
func (Done) event()            {}
func (Promote) event()         {}
func (CancelPromotion) event() {}
func (RequestBackup) event()   {}
func (SetConfig) event()       {}
func (UseConfig) event()       {}
func (UsePolicy) event()       {}
func (ChangeSources) event()   {}
func (SetPaused) event()       {}
func (StartAnyway) event()     {}
func (Farewell) event()        {}
func (Registered) event()      {}
func (Notified) event()        {}

// Refusal is a request that is not carried out because it would be unsafe, or
// is not for this role. Nothing has changed.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return r.Reason }

// IsRefusal reports whether err is a Refusal.
func IsRefusal(err error) bool {
	var r *Refusal
	return errors.As(err, &r)
}

// ErrInvalid marks input that is wrong in itself, whatever the state of the
// cluster.
var ErrInvalid = errors.New("invalid")

// Invalidf is an ErrInvalid that says what is wrong.
func Invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}

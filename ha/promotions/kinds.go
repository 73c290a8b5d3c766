package promotions

import (
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// PromotionRequest asks to make this instance the active, or, with DryRun,
// whether that would work and what would be lost. It is the body of the API's call, and
// the context of a call says who asks (event.Actor).
type PromotionRequest struct {
	Backup               string     `json:"backup,omitempty" maxLength:"256" doc:"id of the backup to restore; empty: the newest"`
	Moment               *time.Time `json:"moment,omitempty" doc:"bring the sources whose log has the time of each change to this moment, and all others to the newest backup that is not later; goes with no backup"`
	Mode                 ha.Mode    `json:"mode,omitempty" enum:"switchover,failover" default:"switchover"`
	DryRun               bool       `json:"dry_run,omitempty"`
	AllowVersionMismatch bool       `json:"allow_version_mismatch,omitempty" doc:"restore a backup of another version of the application"`
	AllowFailedRehearsal bool       `json:"allow_failed_rehearsal,omitempty" doc:"restore a backup whose rehearsal failed on this instance"`
	WithoutLog           bool       `json:"without_log,omitempty" doc:"give up the logs of sources that come after the backup, where what is in the bucket of them cannot be read: the backup is restored as it is"`
	WaiveSalvage         bool       `json:"waive_salvage,omitempty" doc:"give up a salvage backup that this instance still owes"`
	HostIsOff            bool       `json:"host_is_off,omitempty" doc:"your word that the host of the old active is off: a failover does not wait for its application to stop; refused under strict fencing"`
	AppIsStopped         bool       `json:"application_is_stopped,omitempty" doc:"your word that the application of the active is stopped, where nothing but people can stop it: a switchover from there needs it; refused under strict fencing"`
	Shown                string     `json:"shown,omitempty" maxLength:"256" doc:"id of the newest backup that the operator was shown; a newer one refuses a failover"`
	Reason               string     `json:"reason,omitempty" maxLength:"1000" doc:"for people"`
}

// Preflight says whether a promotion would work now, and what it would lose.
type Preflight struct {
	OK     bool               `json:"ok"`
	Mode   ha.Mode            `json:"mode"`
	Backup control.BackupInfo `json:"backup"` // to be restored
	// Moment is what sources would be brought to, with the log after the backup: loss.sources
	// says which.
	Moment *time.Time `json:"moment,omitempty"`
	Checks []Check    `json:"checks"`
	Loss   Loss       `json:"loss"`
	// Wait is for what, and how long, the promotion would wait once it has
	// committed; nil: for nothing.
	Wait *report.Wait `json:"wait,omitempty"`

	// Notes are what the checks of this host found that keeps nothing from working
	Notes []string `json:"-"`
}

// Check is one thing that a preflight looked at.
type Check struct {
	Name   string `json:"name"` // "role", "key", "version", "restore", "source db", "hook promote", "heartbeat", "rehearsal"
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Loss is what a promotion would lose.
type Loss struct {
	BackupAge float64  `json:"backup_age_seconds"`
	Newer     []string `json:"newer,omitempty"` // ids of newer backups, which would be superseded, newest first
	// Heartbeat is how long ago the active was last seen alive, in seconds;
	// negative: not seen by this process.
	Heartbeat float64 `json:"heartbeat_age_seconds"`
	// Reported is what the active last said of itself in the bucket; nil: nothing.
	Reported *Reported `json:"reported,omitempty"`
	// Sources is up to when each source would come back, where the log of any is shipped;
	// missing: as the backup does.
	Sources []report.SourcePoint `json:"sources,omitempty"`
	Summary string               `json:"summary"` // one line
}

// Reported is what the active said of itself, within a minute of its end.
type Reported struct {
	Time    time.Time        `json:"time"`        // by the store's clock
	Age     float64          `json:"age_seconds"` // by the store's clock
	Sources []SourceReported `json:"sources,omitempty"`
}

// SourceReported is how far one source of the active's had come.
type SourceReported struct {
	Name     string `json:"name"`
	Position string `json:"position"`
	// Lacks is, in words, what the chosen backup lacks of that; "": nothing, as
	// far as that can be told.
	Lacks string `json:"lacks,omitempty"`
}

// PromotionState is how far a promotion is.
type PromotionState string

// States of a promotion.
const (
	PromotionRunning    PromotionState = "running"
	PromotionDone       PromotionState = "promoted"
	PromotionRolledBack PromotionState = "rolled back" // everything is as before
	PromotionRefused    PromotionState = "refused"
)

// PromotionStatus describes a promotion on this instance.
type PromotionStatus struct {
	ID     string         `json:"id"`
	State  PromotionState `json:"state"`
	Mode   ha.Mode        `json:"mode,omitempty"`
	Phase  ha.Phase       `json:"phase,omitempty"`
	Backup string         `json:"backup,omitempty"`
	Moment *time.Time     `json:"moment,omitempty"` // that it goes to, with the log after the backup
	Epoch  uint64         `json:"epoch,omitempty"`  // the new one, once promoted
	Steps  []ha.Step      `json:"steps,omitempty"`
	Error  string         `json:"error,omitempty"`
	// Downtime is for how long a switchover kept the application stopped, from
	// the old active's stop to the start here; 0: not known.
	Downtime float64      `json:"downtime_seconds,omitempty"`
	Ended    *time.Time   `json:"ended,omitempty"`
	Working  string       `json:"working,omitempty"` // what is under way
	Waiting  *report.Wait `json:"waiting,omitempty"` // for somebody else, now

	Progress *backup.Progress `json:"progress,omitempty"` // of that
}

package report

import (
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/staging"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// Status is what an instance knows of itself and of its cluster. Durations are
// in seconds.
type Status struct {
	ha.Status

	Cluster     string `json:"cluster"`
	Instance    string `json:"instance"`
	Incarnation string `json:"incarnation"`
	URL         string `json:"url,omitempty"`
	Version     string `json:"version"`
	State       string `json:"state"`  // as in the table of instances
	Active      string `json:"active"` // name of the active, "" while no head is known
	ActiveURL   string `json:"active_url,omitempty"`

	// Healthy says that there are no Problems; Verdict is VerdictHealthy only when
	// there are no Caveats either.
	Healthy  bool     `json:"healthy"`
	Verdict  string   `json:"verdict"`
	Problems []string `json:"problems,omitempty"` // what an operator should look at
	Caveats  []string `json:"caveats,omitempty"`  // what an operator should know, and is not wrong
	// Findings are the Problems and the Caveats, each with its entry of the runbook, in
	// the order in which they are to be looked at.
	Findings []Finding `json:"findings,omitempty"`

	HeadAge       float64 `json:"head_age_seconds"`        // since the head was seen to change
	HeadAlive     bool    `json:"active_alive"`            // the active shows signs of life
	BucketFailing float64 `json:"bucket_failing_seconds"`  // 0: it answers
	NextBackup    float64 `json:"next_backup_seconds"`     // negative: none is planned
	Uptime        float64 `json:"uptime_seconds"`          //
	LastBackupAge float64 `json:"last_backup_age_seconds"` // of the newest published one; negative: there is none
	BackupOverdue float64 `json:"backup_overdue_seconds"`  // for how long none has been published, when that is too long; 0: all is well, or the schedule is paused
	PauseLeft     float64 `json:"pause_left_seconds"`      // until the schedule goes on by itself; negative: it does not, or is not paused
	ClockSkew     float64 `json:"clock_skew_seconds"`      // the store's clock minus this host's, as last measured

	LastBackup *backup.Ref             `json:"last_backup,omitempty"` // the newest published one
	Cached     []backup.Ref            `json:"cached"`                // in this instance's cache, newest first
	Progress   *backup.Progress        `json:"progress,omitempty"`    // of the work under way
	Staged     string                  `json:"staged,omitempty"`      // id of the backup that is staged: a promotion to it is a swap
	StageRead  *staging.StageRead      `json:"stage_read,omitempty"`  // nil: nothing is staged whose content can be read again
	Policy     string                  `json:"rehearsal_policy"`      // how often this instance rehearses as a standby
	Retention  *upkeep.RetentionStatus `json:"retention,omitempty"`   // nil while the configuration is not known
	Config     *SharedConfig           `json:"config,omitempty"`      // in force; nil while it is not known
	Protects   Protection              `json:"protects"`              // by this host's configuration
	Reload     *ReloadStatus           `json:"reload,omitempty"`      // the last change of the configuration file; nil: there was none
	Instances  []InstanceStatus        `json:"instances"`
	Federation *FederationStatus       `json:"federation,omitempty"` // nil: none is set up
	// Streams are the sources whose log this instance ships, or whose replica it has, by
	// source: whether or not that goes on.
	Streams []StreamStatus `json:"streams,omitempty"`
	// Recovery is up to when a failover now would bring each source back; missing: as the
	// newest backup does, for no log is shipped.
	Recovery []SourcePoint `json:"recovery,omitempty"`
	// Changes are the sources that are not what they were, so that nothing is
	// published of them, or restored to them, until an operator confirms it.
	Changes []backup.Change `json:"changes,omitempty"`
	// Blockers are what this host was found to lack, lately, for a promotion of
	// this standby.
	Blockers []string `json:"blockers,omitempty"`
	Ready    bool     `json:"ready"` // this standby's host was looked at lately, and lacks nothing
	// Hit are the ids of the backups that need packs which are missing from the
	// bucket, as far as this instance knows.
	Hit []string `json:"hit,omitempty"`
	// Damaged are the ids of the backups whose manifests are damaged in the bucket,
	// or missing from it, as far as this instance knows.
	Damaged []string `json:"damaged,omitempty"`
	// Lacks is what the newest backup could not keep.
	Lacks []string `json:"lacks,omitempty"`
	// Takeover is the promotion that began the present epoch; nil: there was none,
	// or it is not known yet.
	Takeover *control.Takeover `json:"takeover,omitempty"`
	// InstancesAge is how old the table of instances is, in seconds: what it says
	// of the others is as of then. Negative: their records have not been read yet.
	InstancesAge float64 `json:"instances_age_seconds"`
	// Outlook says in one line whether promoting this instance would work now,
	// and what would be lost.
	Outlook string `json:"outlook"`
	// OutlookGood says that this is all that one could wish for.
	OutlookGood bool `json:"outlook_good"`
	// Waiting is what a promotion or handover under way here waits for.
	Waiting *Wait `json:"waiting,omitempty"`
	// FailoverWait is for what, and how long, a failover that began now would wait
	// once it has committed, which is nearly all of its downtime; nil: for nothing.
	FailoverWait *Wait `json:"failover_wait,omitempty"`
	Stats        Stats `json:"stats"`

	known Known
}

// SharedConfig is the part of the shared configuration that anyone may see.
type SharedConfig struct {
	Digest      string      `json:"digest"`
	Frequency   ha.Duration `json:"frequency"`
	Retention   ha.Duration `json:"retention"`
	ReuseWindow ha.Duration `json:"reuse_window"`
	Fencing     string      `json:"fencing"`
	TTL         ha.Duration `json:"ttl"`
	StopTimeout ha.Duration `json:"stop_timeout"`
	Margin      ha.Duration `json:"margin"`
	Instances   []ha.Member `json:"instances"`
}

// States of an instance, in the table of instances.
const (
	StateActive  = "active"
	StateInSync  = "in sync"
	StateBehind  = "behind"
	StateWaiting = "waiting for first backup"
	// StateRehearsalFailed is a standby whose newest rehearsal failed.
	StateRehearsalFailed = "rehearsal failed"
	StateUnreachable     = "unreachable"
	// StateBlocked is a standby whose host lacks what a promotion needs.
	StateBlocked = "cannot take over"
	// StateReplaced is an active of an earlier epoch that has not said yet that it
	// has stepped down.
	StateReplaced    = "replaced"
	StatePromoting   = "promoting"
	StateDemoting    = "demoting"
	StateHandingOver = "handing over"
	StateRefused     = "refused"    // active by its own journal, but not by the head
	StateRegistered  = "registered" // added by URL, has not joined yet
	StateRemoved     = "removed"
)

// InstanceStatus is one line of the table of instances.
type InstanceStatus struct {
	Name        string     `json:"name,omitempty"`
	URL         string     `json:"url,omitempty"`
	Self        bool       `json:"self,omitempty"`
	Role        ha.Role    `json:"role,omitempty"`
	State       string     `json:"state"`
	Epoch       uint64     `json:"epoch,omitempty"`
	Version     string     `json:"version,omitempty"`
	Incarnation string     `json:"incarnation,omitempty"`
	Keys        []string   `json:"keys,omitempty"`      // ids of the keys that it knows
	Cached      []string   `json:"cached,omitempty"`    // ids of backups, newest first
	Lag         float64    `json:"lag_seconds"`         // how much older its newest cached backup is than the newest; negative: not known
	LastSeen    *time.Time `json:"last_seen,omitempty"` // when it last wrote its record, by the store's clock

	Rehearsals []ha.Rehearsal `json:"rehearsals,omitempty"` // of its cached backups, newest first
	LastError  string         `json:"last_error,omitempty"`
	Troubles   []string       `json:"troubles,omitempty"` // what is wrong there until it is over
	Blockers   []string       `json:"blockers,omitempty"` // what that host lacks for a promotion
	Ready      bool           `json:"ready,omitempty"`    // that host was looked at lately, and lacks nothing
	// Unstoppable says that nothing on that host can stop the application but people.
	Unstoppable bool `json:"unstoppable,omitempty"`
	// Shipped is, of the active, up to when the logs of its sources are in the bucket.
	Shipped map[string]ha.ShippedLog `json:"shipped,omitempty"`
}

// Snapshot is for how long dumps of a source held a snapshot of its database.
type Snapshot struct {
	Age  float64 `json:"age_seconds"`  // of the one that is held now; 0: none is
	Last float64 `json:"last_seconds"` // that the last one was held
}

// Stats counts what this process has done.
type Stats struct {
	BackupAttempts      int64       `json:"backup_attempts"`
	BackupFailures      int64       `json:"backup_failures"`
	LastAttempt         *time.Time  `json:"last_backup_attempt,omitempty"`
	LastSuccess         *time.Time  `json:"last_backup_success,omitempty"`
	BackupSeconds       float64     `json:"last_backup_seconds"`
	BackupSize          backup.Size `json:"last_backup_size"`
	PullAttempts        int64       `json:"pull_attempts"`
	PullFailures        int64       `json:"pull_failures"`
	RehearsalAttempts   int64       `json:"rehearsal_attempts"`
	RehearsalFailures   int64       `json:"rehearsal_failures"`
	StageDamaged        int64       `json:"stage_damaged_entries"` // that were restored again
	StageRotten         int64       `json:"stage_rotten_entries"`  // whose content was not the backup's
	NotificationsSent   int64       `json:"notifications_sent"`
	NotificationsFailed int64       `json:"notifications_failed"`
	NotificationsGot    int64       `json:"notifications_received"`
	BucketRequests      int64       `json:"bucket_requests"` // for control objects
	BucketErrors        int64       `json:"bucket_errors"`
	BucketSeconds       float64     `json:"bucket_seconds"`     // that the last one took
	WebhooksDelivered   int64       `json:"webhooks_delivered"` // messages
	WebhookFailures     int64       `json:"webhook_failures"`   // attempts
	WebhooksLost        int64       `json:"webhooks_lost"`      // messages that were given up
	// HookFailures are by the hook's name, Failures by the step (Steps).
	HookFailures map[string]int64 `json:"hook_failures,omitempty"`
	Failures     map[string]int64 `json:"failures,omitempty"`
	// AttemptSeconds is what the last attempt at a backup took, if it has ended.
	AttemptSeconds float64 `json:"last_attempt_seconds"`
	AttemptFailed  bool    `json:"last_attempt_failed"`
	// CacheMended counts cached packs that were damaged or missing and were
	// replaced by the bucket's, CacheLost those for which it has none.
	CacheMended int64 `json:"cache_packs_mended"`
	CacheLost   int64 `json:"cache_packs_lost"`
	// OldestPack is when the oldest pack that the last backup refers to was
	// stored, by the store's clock.
	OldestPack *time.Time `json:"oldest_pack,omitempty"`
	// Shipped is by the source whose log can be shipped.
	Shipped map[string]Shipped `json:"shipped,omitempty"`
	// Snapshots are by the source.
	Snapshots map[string]Snapshot `json:"snapshots,omitempty"`
	// BucketLatency is by the operation.
	BucketLatency map[string]control.Latency `json:"-"`
}

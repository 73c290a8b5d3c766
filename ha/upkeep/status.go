package upkeep

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

// RetentionStatus says how long backups stay, and who deletes them then.
type RetentionStatus struct {
	Configured RetentionTimes `json:"configured"`
	// Effective is what the bucket's rules leave of it.
	Effective RetentionTimes `json:"effective"`
	AppliedBy string         `json:"applied_by"` // "bucket" or "agent"
	// AgentDeletes are the folders that no rule of the bucket empties, so that
	// the active does.
	AgentDeletes []string `json:"agent_deletes,omitempty"`
	// LongerPacksUntil is until when packs are kept for longer than configured
	// now, because an earlier reuse window was longer.
	LongerPacksUntil *time.Time         `json:"longer_packs_until,omitempty"`
	Lock             blobstore.LockMode `json:"lock,omitempty"` // in which packs and manifests are locked
	RulesRead        *time.Time         `json:"rules_read,omitempty"`
	Error            string             `json:"error,omitempty"`    // why the rules could not be read last
	Problems         []string           `json:"problems,omitempty"` // rules that delete too soon
	// ShortVersions are rules that delete earlier versions sooner than is
	// wanted, in a bucket that may keep them.
	ShortVersions []string   `json:"short_versions,omitempty"`
	NewestAtRisk  string     `json:"newest_at_risk,omitempty"`
	Deleted       int64      `json:"deleted"` // objects, by this process
	LastSweep     *time.Time `json:"last_sweep,omitempty"`
}

// RetentionTimes are a retention's two lengths of time.
type RetentionTimes struct {
	Retention   ha.Duration `json:"retention"`
	ReuseWindow ha.Duration `json:"reuse_window"` // 0: every backup writes everything again
}

// NewRetentionTimes are a retention's two lengths of time.
func NewRetentionTimes(r retention.Policy) RetentionTimes {
	return RetentionTimes{Retention: ha.Duration(r.Keep), ReuseWindow: ha.Duration(max(0, r.Reuse))}
}

// Status says what a configuration's retention comes to.
func (r *Rules) Status(c *ha.Config) *RetentionStatus {
	effect, mode := r.Effect(c), r.locks.Mode()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &RetentionStatus{
		Configured: NewRetentionTimes(effect.Wanted), Effective: NewRetentionTimes(effect.Effective),
		AppliedBy: AppliedByBucket, AgentDeletes: effect.Left,
		Lock: mode, RulesRead: r.readAt, Error: r.failure, NewestAtRisk: r.risk, Deleted: r.deleted, LastSweep: r.sweptAt,
		Problems: append(control.Threats(r.rules), effect.Problems...), ShortVersions: control.ShortVersions(effect.Wanted, r.rules),
	}
	if !effect.ByBucket() {
		s.AppliedBy = AppliedByAgent
	}
	if !r.until.IsZero() {
		s.LongerPacksUntil = &r.until
	}
	return s
}

// summary says in one sentence what a retention comes to.
func (s *RetentionStatus) summary() string {
	by := "the bucket's rules delete what has expired"
	if s.AppliedBy == AppliedByAgent {
		by = "the active deletes what has expired"
	}
	if s.Effective == s.Configured {
		return fmt.Sprintf("backups are kept for %s; %s", inDays(s.Configured.Retention), by)
	}
	return fmt.Sprintf("backups are kept for %s instead of %s, and their data is stored again after %s instead of %s; %s",
		inDays(s.Effective.Retention), inDays(s.Configured.Retention),
		inDays(s.Effective.ReuseWindow), inDays(s.Configured.ReuseWindow), by)
}

// inDays writes a length of time for people, to a tenth of a day.
func inDays[D time.Duration | ha.Duration](d D) string {
	return strconv.FormatFloat(math.Round(time.Duration(d).Hours()/2.4)/10, 'f', -1, 64) + " days"
}

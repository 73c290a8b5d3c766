package report

import (
	"maps"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha/control"
)

// Counts counts what this process has done, for concurrent use.
type Counts struct {
	mu sync.Mutex
	s  Stats
}

func (s *Counts) change(do func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(&s.s)
}

// Attempt counts an attempt at a backup.
func (s *Counts) Attempt(at time.Time) {
	s.change(func(s *Stats) { s.BackupAttempts++; s.LastAttempt = &at })
}

// BackupFailed counts one that failed.
func (s *Counts) BackupFailed(took time.Duration) {
	s.change(func(s *Stats) { s.BackupFailures++; s.AttemptSeconds, s.AttemptFailed = took.Seconds(), true })
}

// BackupDone counts one that is written.
func (s *Counts) BackupDone(at time.Time, took time.Duration, m *backup.Manifest) {
	s.change(func(s *Stats) {
		s.LastSuccess, s.BackupSeconds, s.BackupSize = &at, took.Seconds(), m.Size
		s.AttemptSeconds, s.AttemptFailed = s.BackupSeconds, false
		s.OldestPack = nil
		if !m.OldestPack.IsZero() {
			s.OldestPack = &m.OldestPack
		}
	})
}

// Rehearsal counts a rehearsal.
func (s *Counts) Rehearsal() { s.change(func(s *Stats) { s.RehearsalAttempts++ }) }

// RehearsalFailed counts one that failed.
func (s *Counts) RehearsalFailed() { s.change(func(s *Stats) { s.RehearsalFailures++ }) }

// StageDamaged counts entries of a stage that were restored again.
func (s *Counts) StageDamaged(entries int64) {
	s.change(func(s *Stats) { s.StageDamaged += entries })
}

// StageRotten counts what had rotted in a stage.
func (s *Counts) StageRotten() { s.change(func(s *Stats) { s.StageRotten++ }) }

// Pull counts a pull.
func (s *Counts) Pull() { s.change(func(s *Stats) { s.PullAttempts++ }) }

// PullFailed counts one that failed.
func (s *Counts) PullFailed() { s.change(func(s *Stats) { s.PullFailures++ }) }

// Failed counts the failure of a step.
func (s *Counts) Failed(step string) { s.change(func(s *Stats) { count(&s.Failures, step) }) }

// HookFailed counts a run of a hook that failed.
func (s *Counts) HookFailed(name string) { s.change(func(s *Stats) { count(&s.HookFailures, name) }) }

func count(in *map[string]int64, what string) {
	if *in == nil {
		*in = make(map[string]int64)
	}
	(*in)[what]++
}

// CacheMended counts a cached pack that was bad, and is lost where the bucket has none.
func (s *Counts) CacheMended(lost bool) {
	s.change(func(s *Stats) {
		if lost {
			s.CacheLost++
		} else {
			s.CacheMended++
		}
	})
}

// Notified counts one that came.
func (s *Counts) Notified() { s.change(func(s *Stats) { s.NotificationsGot++ }) }

// Sent counts a notification.
func (s *Counts) Sent(err error) {
	s.change(func(s *Stats) {
		if err != nil {
			s.NotificationsFailed++
		} else {
			s.NotificationsSent++
		}
	})
}

// Webhook counts an attempt at a message, and one that was given up.
func (s *Counts) Webhook(err error, lost bool) {
	s.change(func(s *Stats) {
		switch {
		case err == nil:
			s.WebhooksDelivered++
		case lost:
			s.WebhooksLost++
			s.WebhookFailures++
		default:
			s.WebhookFailures++
		}
	})
}

// Read gives the counts, with the bucket's.
func (s *Counts) Read(b *control.Store) Stats {
	s.mu.Lock()
	all := s.s
	all.Failures, all.HookFailures = maps.Clone(s.s.Failures), maps.Clone(s.s.HookFailures)
	s.mu.Unlock()
	asked := b.Requests()
	all.BucketRequests, all.BucketErrors = asked.Count, asked.Errors
	all.BucketSeconds, all.BucketLatency = asked.Last.Seconds(), asked.ByOperation
	return all
}

// Snapshots tells for how long dumps hold snapshots of databases.
func Snapshots(sources []source.Source) map[string]Snapshot {
	all := make(map[string]Snapshot)
	for _, src := range sources {
		if s, ok := src.(source.Snapshotter); ok {
			now, last := s.SnapshotAge()
			all[src.Name()] = Snapshot{Age: now.Seconds(), Last: last.Seconds()}
		}
	}
	return all
}

package agent

import (
	"maps"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha/control"
)

// stats counts, for concurrent use.
type stats struct {
	mu sync.Mutex
	s  Stats
}

func (s *stats) change(do func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(&s.s)
}

func (s *stats) Attempt(at time.Time) {
	s.change(func(s *Stats) { s.BackupAttempts++; s.LastAttempt = &at })
}

func (s *stats) BackupFailed(took time.Duration) {
	s.change(func(s *Stats) { s.BackupFailures++; s.AttemptSeconds, s.AttemptFailed = took.Seconds(), true })
}

func (s *stats) BackupDone(at time.Time, took time.Duration, m *backup.Manifest) {
	s.change(func(s *Stats) {
		s.LastSuccess, s.BackupSeconds, s.BackupSize = &at, took.Seconds(), m.Size
		s.AttemptSeconds, s.AttemptFailed = s.BackupSeconds, false
		s.OldestPack = nil
		if !m.OldestPack.IsZero() {
			s.OldestPack = &m.OldestPack
		}
	})
}

func (s *stats) Rehearsal()       { s.change(func(s *Stats) { s.RehearsalAttempts++ }) }
func (s *stats) RehearsalFailed() { s.change(func(s *Stats) { s.RehearsalFailures++ }) }

func (s *stats) StageDamaged(entries int64) {
	s.change(func(s *Stats) { s.StageDamaged += entries })
}

func (s *stats) StageRotten() { s.change(func(s *Stats) { s.StageRotten++ }) }

func (s *stats) Pull()       { s.change(func(s *Stats) { s.PullAttempts++ }) }
func (s *stats) PullFailed() { s.change(func(s *Stats) { s.PullFailures++ }) }

// failed counts the failure of a step.
func (s *stats) failed(step string) { s.change(func(s *Stats) { count(&s.Failures, step) }) }

func (s *stats) hookFailed(name string) { s.change(func(s *Stats) { count(&s.HookFailures, name) }) }

func count(in *map[string]int64, what string) {
	if *in == nil {
		*in = make(map[string]int64)
	}
	(*in)[what]++
}

func (s *stats) cacheMended(lost bool) {
	s.change(func(s *Stats) {
		if lost {
			s.CacheLost++
		} else {
			s.CacheMended++
		}
	})
}

func (s *stats) notified() { s.change(func(s *Stats) { s.NotificationsGot++ }) }

func (s *stats) sent(err error) {
	s.change(func(s *Stats) {
		if err != nil {
			s.NotificationsFailed++
		} else {
			s.NotificationsSent++
		}
	})
}

// webhook counts an attempt at a message, and one that was given up.
func (s *stats) webhook(err error, lost bool) {
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

// read gives the counts, with the bucket's.
func (s *stats) read(b *control.Store) Stats {
	s.mu.Lock()
	all := s.s
	all.Failures, all.HookFailures = maps.Clone(s.s.Failures), maps.Clone(s.s.HookFailures)
	s.mu.Unlock()
	asked := b.Requests()
	all.BucketRequests, all.BucketErrors = asked.Count, asked.Errors
	all.BucketSeconds, all.BucketLatency = asked.Last.Seconds(), asked.ByOperation
	return all
}

// snapshots tells for how long dumps hold snapshots of databases.
func snapshots(sources []source.Source) map[string]Snapshot {
	all := make(map[string]Snapshot)
	for _, src := range sources {
		if s, ok := src.(source.Snapshotter); ok {
			now, last := s.SnapshotAge()
			all[src.Name()] = Snapshot{Age: now.Seconds(), Last: last.Seconds()}
		}
	}
	return all
}

package agent

import (
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup"
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

func (s *stats) attempt(at time.Time) {
	s.change(func(s *Stats) { s.BackupAttempts++; s.LastAttempt = &at })
}

func (s *stats) backupFailed() { s.change(func(s *Stats) { s.BackupFailures++ }) }

func (s *stats) backupDone(at time.Time, took time.Duration, size backup.Size) {
	s.change(func(s *Stats) { s.LastSuccess, s.BackupSeconds, s.BackupSize = &at, took.Seconds(), size })
}

func (s *stats) rehearsal()       { s.change(func(s *Stats) { s.RehearsalAttempts++ }) }
func (s *stats) rehearsalFailed() { s.change(func(s *Stats) { s.RehearsalFailures++ }) }

func (s *stats) pull()       { s.change(func(s *Stats) { s.PullAttempts++ }) }
func (s *stats) pullFailed() { s.change(func(s *Stats) { s.PullFailures++ }) }
func (s *stats) hookFailed() { s.change(func(s *Stats) { s.HookFailures++ }) }
func (s *stats) notified()   { s.change(func(s *Stats) { s.NotificationsGot++ }) }

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
func (s *stats) read(b *Bucket) Stats {
	s.mu.Lock()
	all := s.s
	s.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	all.BucketRequests, all.BucketErrors, all.BucketSeconds = b.requests, b.failures, b.took.Seconds()
	return all
}

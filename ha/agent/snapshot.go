package agent

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// Status says what this instance knows, without asking anyone.
func (a *Agent) Status() Status {
	a.table.look(max(a.cfg.Poll, recordPause))
	a.mu.Lock()
	core, at, progress, cached, staged, late := a.core, a.coreAt, cmp.Or(a.progress, a.pulling), a.inCache, a.besideNow, a.late
	a.mu.Unlock()
	now := a.cfg.Clock.Now()
	since := now.Mono - at.Mono // the machine's durations are as of its last step
	s := Status{
		Status: core, Cluster: a.bucket.Cluster(), Instance: a.self.Name, Incarnation: a.self.Incarnation,
		URL: a.self.URL, Version: a.cfg.Version, State: selfState(core, cached),
		HeadAge: (core.HeadAge + since).Seconds(), HeadAlive: core.HeadAlive,
		NextBackup: -1, LastBackupAge: -1, PauseLeft: -1, BackupOverdue: late.Seconds(),
		Uptime:    (now.Mono - a.started.Mono).Seconds(),
		ClockSkew: a.bucket.storeTime().Sub(now.Wall).Seconds(),
		Cached:    cached, Progress: progress, Staged: staged, Policy: a.live().Rehearsal.String(), Config: a.sharedConfig(), Reload: a.reloadStatus(),
		Instances: a.instances(core), Federation: a.federation.status(a.live().Federation), Stats: a.stats.read(a.bucket),
	}
	s.Waiting, s.FailoverWait = waitOf(core.Waiting, since), waitOf(core.FailoverWait, since)
	if core.Bucket != "ok" {
		s.BucketFailing = (core.BucketSince + since).Seconds()
	}
	if core.NextBackup >= 0 {
		s.NextBackup = max(0, core.NextBackup-since).Seconds()
	}
	schedule := a.schedule(core)
	s.Paused = schedule.paused
	switch {
	case core.Paused != nil && core.PauseLeft >= 0:
		s.PauseLeft = max(0, core.PauseLeft-since).Seconds()
	case s.Paused != nil && s.Paused.Until != nil:
		s.PauseLeft = max(0, s.Paused.Until.Sub(now.Wall)).Seconds()
	}
	if h := core.Head; h != nil {
		s.Active, s.ActiveURL = h.Active.Name, h.Active.URL
		if h.Newest != nil {
			s.LastBackup, s.LastBackupAge = h.Newest, max(0, now.Wall.Sub(h.Newest.Time)).Seconds()
		}
	}
	if _, c := a.configs.current(); c != nil {
		s.Retention = a.retentionStatus(c)
	}
	s.Blockers, s.Changes = a.readiness.read(), a.changes.list()
	s.Problems = slices.Concat(problems(s, schedule, now.Wall), a.troubles.list(), foreignTroubles(s.Instances))
	s.Healthy = len(s.Problems) == 0
	s.Outlook = outlook(s)
	return s
}

func (a *Agent) sharedConfig() *SharedConfig {
	digest, c := a.configs.current()
	if c == nil {
		return nil
	}
	return &SharedConfig{
		Digest: digest, Frequency: c.Frequency, Retention: c.Retention, ReuseWindow: c.ReuseWindow,
		Fencing: string(c.Fencing.Mode), TTL: c.Fencing.TTL, StopTimeout: c.Fencing.StopTimeout, Margin: c.Fencing.Margin,
		Instances: c.Instances,
	}
}

// problems lists what an operator should look at.
func problems(s Status, schedule scheduleView, now time.Time) []string {
	var all []string
	add := func(when bool, format string, args ...any) {
		if when {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	active := s.Role == ha.RoleActive
	add(s.Refused != "", "%s", s.Refused)
	add(s.Bucket != "ok", "the bucket cannot be used: %s", s.Bucket)
	add(s.Override, "the application was started without the bucket, on an operator's word")
	add(s.AppError != "", "the application: %s", s.AppError)
	add(s.Leading && s.App != "running" && s.AppError == "" && s.Handover == nil && s.Promotion == nil, "the application is not known to run")
	add(s.BackupError != "", "the last backup failed: %s", s.BackupError)
	add(s.PullError != "", "the newest backup could not be cached: %s", s.PullError)
	if r := s.Rehearsed; r.Error != "" && !active {
		add(true, "the rehearsal of backup %s failed: %s", r.Backup, r.Error)
	}
	for _, i := range s.Instances {
		add(active && i.State == StateRehearsalFailed, "%s: the rehearsal of a backup failed: %s", i.Name, i.LastError)
	}
	add(active && s.Refused == "" && !s.Leading && s.Bucket == "ok", "this instance has not claimed the head yet")
	add(!active && s.Bucket == "ok" && s.Head != nil && s.silent(), "the active %s has shown no sign of life for %s", s.Active, seconds(s.HeadAge))
	add(s.Demotion != nil, "this instance is stepping down")
	for _, b := range s.Blockers {
		add(true, "a promotion of this instance would fail: %s", b)
	}
	if text := reloadProblem(s.Reload); text != "" {
		all = append(all, text)
	}
	if p := s.Paused; p != nil {
		add(now.Sub(p.Since) > longPause, "%s", longPauseText(p, now))
	}
	if s.BackupOverdue > 0 && s.Config != nil {
		late := time.Duration(s.BackupOverdue * float64(time.Second))
		add(true, "%s", overdueText(late, s.Config.Frequency, schedule.failing))
	}
	if f := s.Federation; f != nil {
		add(f.Error != "", "%s", f.Error)
	}
	if r := s.Retention; r != nil {
		add(r.NewestAtRisk != "", "%s", r.NewestAtRisk)
		all = append(all, r.Problems...)
	}
	add(active && s.LastBackupAge > syncGrace && !s.covered(), "no standby has the newest backup, which is %s old", seconds(s.LastBackupAge))
	return all
}

// syncGrace is how long a backup may take to be cached and seen to be, in
// seconds.
const syncGrace = 180

// covered reports whether a standby has the newest backup, or there is none
// that could.
func (s *Status) covered() bool {
	standbys := 0
	for _, i := range s.Instances {
		if i.State == StateInSync || i.State == StateRehearsalFailed && i.Lag == 0 {
			return true
		}
		if i.Role == ha.RoleStandby && i.State != StateRemoved {
			standbys++
		}
	}
	return standbys == 0
}

// silent reports whether the active's heartbeat is stale.
func (s *Status) silent() bool {
	return s.Head == nil || s.HeadAge >= time.Duration(s.Head.Fencing.TTL+s.Head.Fencing.Margin).Seconds()
}

// seconds writes a number of seconds for people.
func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

package agent

import "github.com/understudy-ha/understudy/ha/report"

// Status says what this instance knows, without asking anyone.
func (a *Agent) Status() report.Status {
	a.records.Look(max(a.cfg.Poll, recordPause))
	core, at := a.state.ViewAt()
	late := a.overdue.Late()
	cached := a.cached.Refs()
	staged, read := a.stage.Shown()
	now := a.cfg.Clock.Now()
	since := now.Mono - at.Mono // the machine's durations are as of its last step
	s := report.Status{
		Status: core, Cluster: a.control.Cluster(), Instance: a.self.Name, Incarnation: a.self.Incarnation,
		URL: a.self.URL, Version: a.cfg.Version, State: a.selfState(core, cached),
		HeadAge: (core.HeadAge + since).Seconds(), HeadAlive: core.HeadAlive,
		NextBackup: -1, LastBackupAge: -1, PauseLeft: -1, BackupOverdue: late.Seconds(),
		Uptime:    (now.Mono - a.started.Mono).Seconds(),
		ClockSkew: a.control.Time().Sub(now.Wall).Seconds(),
		Cached:    cached, Progress: a.progress.Shown(), Staged: staged, Policy: a.live().Rehearsal.String(), Config: sharedConfig(a), Reload: a.reloading.last(),
		Instances: a.instances(core), Federation: a.federation.Status(), Stats: a.stats.Read(a.control),
	}
	s.Stats.Snapshots = report.Snapshots(a.live().Sources)
	s.Waiting, s.FailoverWait = report.WaitOf(core.Waiting, since), report.WaitOf(core.FailoverWait, since)
	if core.Bucket != "ok" {
		s.BucketFailing = (core.BucketSince + since).Seconds()
	}
	if core.NextBackup >= 0 {
		s.NextBackup = max(0, core.NextBackup-since).Seconds()
	}
	schedule := a.schedule(core)
	s.Paused = schedule.Paused
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
	if _, c := a.configs.Current(); c != nil {
		s.Retention = a.rules.Status(c)
	}
	s.Protects = report.ProtectionOf(a.live().setup())
	s.Protects.Exec = a.cfg.Application != nil || a.cfg.Supervised
	s.Blockers, s.Ready = a.readiness.Read()
	s.Changes = a.changes.List()
	s.Lacks, s.Takeover = a.aftermath.Read(core.Head)
	s.StageRead = read
	s.InstancesAge = a.records.Age()
	s.Hit, s.Damaged = a.packs.Hit(), a.objects.Damaged()
	s.Judge(report.Known{
		Schedule: schedule, Troubles: a.tell.Troubles(), Now: now.Wall, Poll: a.cfg.Poll, Notes: a.readiness.Known(), Kept: a.kept.Texts(),
	})
	return s
}

func sharedConfig(a *Agent) *report.SharedConfig {
	digest, c := a.configs.Current()
	if c == nil {
		return nil
	}
	return &report.SharedConfig{
		Digest: digest, Frequency: c.Frequency, Retention: c.Retention, ReuseWindow: c.ReuseWindow,
		Fencing: string(c.Fencing.Mode), TTL: c.Fencing.TTL, StopTimeout: c.Fencing.StopTimeout, Margin: c.Fencing.Margin,
		Instances: c.Instances,
	}
}

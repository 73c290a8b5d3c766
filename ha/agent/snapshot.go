package agent

import (
	"slices"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/peers"
	"github.com/understudy-ha/understudy/ha/report"
)

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
		Instances: a.table.all(core), Federation: a.federation.Status(), Stats: a.stats.Read(a.control),
	}
	s.Stats.Snapshots, s.Stats.Shipped = report.Snapshots(a.reloading.sources()), shippedCounts(a.shipping)
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
	s.Protects = report.ProtectionOf(a.reloading.setup())
	s.Protects.Exec = a.cfg.Application != nil || a.cfg.Supervised
	s.Blockers, s.Ready = a.readiness.Read()
	s.Changes = a.changes.List()
	s.Lacks, s.Takeover = a.aftermath.Read(core.Head)
	s.StageRead = read
	s.Streams = a.streamStatus(core, now.Wall)
	s.InstancesAge = a.records.Age()
	s.Hit, s.Damaged = a.packs.Hit(), a.objects.Damaged()
	s.Judge(report.Known{
		Schedule: schedule, Troubles: a.tell.Troubles(), Now: now.Wall, Poll: a.cfg.Poll, Reads: a.table.every(),
		Notes: a.readiness.Known(), Kept: a.kept.Texts(),
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

// record is what this instance says of itself.
func (a *Agent) record() ha.Instance {
	core := a.state.View()
	cached := a.cached.Refs()
	rec := ha.Instance{
		Role: core.Role, State: a.selfState(core, cached), Epoch: core.Epoch,
		Version: a.cfg.Version, Keys: a.cfg.Ring.IDs(), LastError: lastError(core),
		Prometheus: a.live().Federation.Address, BackupError: core.BackupError, Troubles: a.tell.ShortTroubles(), Unstoppable: a.unstoppable(), Time: a.cfg.Clock.Now().Wall,
	}
	rec.Older = peers.OwnSighting(core, a.self.Name)
	if core.Leading {
		rec.Shipped = shippedLogs(a.shipping)
	}
	if core.Role == ha.RoleStandby {
		rec.Blockers, rec.Ready = a.readiness.Read()
	}
	if core.Paused != nil {
		p := *core.Paused
		p.Left = 0 // it changes all the time, and tells nothing on another clock
		rec.Paused = &p
	}
	for _, ref := range cached {
		rec.Cached = append(rec.Cached, ref.ID)
	}
	rec.Rehearsals, rec.Missing = a.rehearsals.List(cached), a.packs.Missing()
	if h := core.Head; h != nil && h.Newest != nil {
		rec.Newest = h.Newest.ID
	}
	return rec
}

// selfState says what an instance is, in the words of the table.
func (a *Agent) selfState(core ha.Status, cached []backup.Ref) string {
	blockers, _ := a.readiness.Read()
	newest := ""
	if core.Head != nil && core.Head.Newest != nil {
		newest = core.Head.Newest.ID
	}
	switch {
	case core.Refused != "":
		return report.StateRefused
	case core.Promotion != nil:
		return report.StatePromoting
	case core.Demotion != nil:
		return report.StateDemoting
	case core.Handover != nil:
		return report.StateHandingOver
	case core.Role == ha.RoleActive:
		return report.StateActive
	case core.Rehearsed.Error != "":
		return report.StateRehearsalFailed
	case len(blockers) > 0:
		return report.StateBlocked
	case newest != "" && slices.ContainsFunc(cached, func(r backup.Ref) bool { return r.ID == newest }):
		return report.StateInSync
	case len(cached) == 0:
		return report.StateWaiting
	}
	return report.StateBehind
}

// lastError is the first thing that is wrong.
func lastError(core ha.Status) string {
	for _, text := range []string{core.Refused, core.AppError, core.WorkError, core.BackupError, core.PullError, core.Rehearsed.Error} {
		if text != "" {
			return text
		}
	}
	return ""
}

package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/watch"
)

// Verdicts on an instance. One function decides which (Status.Judge), and nothing
// else says that all is well.
const (
	// VerdictHealthy: it was looked, and there is nothing to tell.
	VerdictHealthy = "healthy"
	// VerdictToKnow: nothing is wrong, and there are Caveats.
	VerdictToKnow = "nothing is wrong, and there is something to know"
	// VerdictToLookAt: there are Problems.
	VerdictToLookAt = "there is something to look at"
)

// Known is what else the verdict is by.
type Known struct {
	Schedule watch.Schedule
	Troubles []event.Trouble
	Now      time.Time
	Poll     time.Duration
	Reads    time.Duration // how often the other instances' records are read while nobody looks
	Notes    []string      // of the look for Blockers
	Kept     []string      // what an interrupted restore had replaced
}

// Judge says how this instance and its cluster are. Whatever the status shows
// that is not as it should be is among the problems or the caveats: the state of
// an instance, what the newest backup lacks, an outlook that promises nothing.
func (s *Status) Judge(k Known) {
	s.known = k
	var f findings
	s.Recovery = s.SourcePoints(s.Head, s.sources(), k.Now)
	s.selfProblems(&f, k.Schedule, k.Now)
	for _, t := range k.Troubles {
		f.problem(topicOfTrouble(t.Kind), true, "%s", t.Text)
	}
	s.clusterProblems(&f)
	s.caveats(&f)
	s.logFindings(&f)
	if s.Outlook, s.OutlookGood = outlook(*s); !s.OutlookGood && len(f.all) == 0 {
		f.caveat(topicOutlook, true, "%s", s.Outlook)
	}
	s.Problems, s.Caveats = f.texts(true), f.texts(false)
	s.Findings = sorted(f.all)
	s.Healthy = len(s.Problems) == 0
	switch {
	case !s.Healthy:
		s.Verdict = VerdictToLookAt
	case len(s.Caveats) > 0:
		s.Verdict = VerdictToKnow
	default:
		s.Verdict = VerdictHealthy
	}
}

// sources names what this host's configuration protects.
func (s *Status) sources() (names []string) {
	for _, one := range s.Protects.Sources {
		names = append(names, one.Name)
	}
	return names
}

// findings are what there is to say, as it was found.
type findings struct{ all []Finding }

func (f *findings) problem(of Topic, when bool, format string, args ...any) {
	if when {
		f.all = append(f.all, Finding{Text: fmt.Sprintf(format, args...), Topic: of, Wrong: true})
	}
}

func (f *findings) caveat(of Topic, when bool, format string, args ...any) {
	if when {
		f.all = append(f.all, Finding{Text: fmt.Sprintf(format, args...), Topic: of})
	}
}

// texts are what is said of what is wrong, or of what is not.
func (f *findings) texts(wrong bool) (all []string) {
	for _, one := range f.all {
		if one.Wrong == wrong {
			all = append(all, one.Text)
		}
	}
	return all
}

// selfProblems are what is wrong on this instance.
func (s *Status) selfProblems(f *findings, schedule watch.Schedule, now time.Time) {
	active := s.Role == ha.RoleActive
	f.problem(topicRefused, s.Refused != "", "%s", s.Refused)
	f.problem(topicBucket, s.Bucket != "ok", "the bucket cannot be used: %s", s.Bucket)
	f.problem(topicOverride, s.Override, "the application was started without the bucket, on an operator's word")
	f.problem(topicApplication, s.AppError != "", "the application: %s", s.AppError)
	f.problem(topicApplication, s.Leading && s.App != "running" && s.AppError == "" && s.Handover == nil && s.Promotion == nil, "the application is not known to run")
	f.problem(topicBackup, s.BackupError != "", "the last backup failed: %s", s.BackupError)
	f.problem(topicPull, s.PullError != "", "the newest backup could not be cached: %s", s.PullError)
	f.problem(topicUnderWay, s.WorkError != "", "%s", s.WorkError)
	f.problem(topicRehearsal, s.Rehearsed.Error != "" && !active, "the rehearsal of backup %s failed: %s", s.Rehearsed.Backup, s.Rehearsed.Error)
	f.problem(topicBucket, active && s.Refused == "" && !s.Leading && s.Bucket == "ok", "this instance has not claimed the head yet")
	f.problem(topicSilent, !active && s.Bucket == "ok" && s.Head != nil && s.Silent(), "the active %s has shown no sign of life for %s", s.Active, Seconds(s.HeadAge))
	f.problem(topicUnderWay, s.Demotion != nil, "this instance is stepping down")
	if s.Waiting != nil && s.WorkError == "" {
		f.problem(topicUnderWay, true, "what is under way here waits for %s", s.Waiting)
	}
	for _, b := range s.Blockers {
		f.problem(topicBlocked, true, "a promotion of this instance would fail: %s", b)
	}
	if text := ReloadProblem(s.Reload); text != "" {
		f.problem(topicReload, true, "%s", text)
	}
	if p := s.Paused; p != nil {
		f.problem(topicPause, watch.IsLong(p, now), "%s", watch.PauseText(p, now))
	}
	if s.BackupOverdue > 0 && s.Config != nil {
		late := time.Duration(s.BackupOverdue * float64(time.Second))
		f.problem(topicBackup, true, "%s", watch.OverdueText(late, s.Config.Frequency, schedule.Failing))
	}
	if fed := s.Federation; fed != nil {
		f.problem(topicFederation, fed.Error != "", "%s", fed.Error)
	}
	if r := s.Retention; r != nil {
		f.problem(topicRetention, r.NewestAtRisk != "", "%s", r.NewestAtRisk)
		for _, text := range r.Problems {
			f.problem(topicRetention, true, "%s", text)
		}
	}
}

// tableOld is how old the table of instances may be, in seconds, before that is
// a problem of its own; where it is read seldom, two readings.
const tableOld = 180

// clusterProblems are what the table of instances says that is not as it should
// be.
func (s *Status) clusterProblems(f *findings) {
	switch {
	case s.InstancesAge < 0:
		f.problem(topicRecords, true, "the other instances' records have not been read yet")
		return
	case s.InstancesAge > tableOld && s.InstancesAge <= 2*s.known.Reads.Seconds():
		f.caveat(topicRecords, true, "the other instances' records were read %s ago: of so many a standby reads them every %s while nobody looks, and now that you do: ask again", Seconds(s.InstancesAge), Seconds(s.known.Reads.Seconds()))
	case s.InstancesAge > tableOld:
		f.problem(topicRecords, true, "the other instances' records have not been read for %s", Seconds(s.InstancesAge))
	}
	f.problem(topicPull, s.Role == ha.RoleActive && s.LastBackupAge > SyncGrace && !s.Covered(), "no standby has the newest backup, which is %s old", Seconds(s.LastBackupAge))
	for _, i := range s.Instances {
		if i.Self || i.State == StateRemoved {
			continue
		}
		for _, text := range i.Troubles {
			f.problem(topicOther, true, "%s: %s", i.Name, text)
		}
		of, text, wrong := s.rowFinding(i)
		f.problem(of, text != "" && wrong, "%s", text)
		f.caveat(of, text != "" && !wrong, "%s", text)
	}
}

// rowFinding says what a line of the table tells that is not as it should be,
// and whether that is wrong, or only to be known.
func (s *Status) rowFinding(i InstanceStatus) (of Topic, text string, wrong bool) {
	switch {
	case i.State == StateRegistered:
		return topicCatchingUp, i.URL + " is registered, and has not joined yet", false
	case strings.HasPrefix(i.State, StateUnreachable):
		return topicUnreachable, i.Name + " is " + i.State, true
	case i.State == StateRehearsalFailed:
		return topicRehearsal, i.Name + ": the rehearsal of a backup failed: " + i.LastError, true
	case len(i.Blockers) > 0:
		return topicBlocked, i.Name + " could not take over: " + strings.Join(i.Blockers, "; "), true
	case i.Role == "", i.State == StateRefused, i.State == StateBlocked:
		return topicOther, nonEmpty(": ", i.Name+": "+i.State, i.LastError), true
	case i.LastError != "":
		return topicOther, i.Name + ": " + i.LastError, true
	case i.State == StateBehind, i.State == StateWaiting:
		return topicCatchingUp, fmt.Sprintf("%s: %s (the newest backup is %s old)", i.Name, i.State, Seconds(s.LastBackupAge)), s.LastBackupAge > SyncGrace
	case i.State != StateActive && i.State != StateInSync:
		return topicOther, i.Name + ": " + i.State, false
	case i.Role == ha.RoleStandby && !i.Ready:
		return topicBlocked, i.Name + " has not said yet whether its host has what a promotion needs", false
	}
	return "", "", false
}

// nonEmpty joins what is not empty.
func nonEmpty(separator string, texts ...string) string {
	var all []string
	for _, t := range texts {
		if t != "" {
			all = append(all, t)
		}
	}
	return strings.Join(all, separator)
}

// caveats are what is to be known, and is not wrong.
func (s *Status) caveats(f *findings) {
	standby := s.Role == ha.RoleStandby && s.Promotion == nil && s.Demotion == nil
	f.caveat(topicNoBackup, s.LastBackup == nil && s.Head != nil, "there is no backup yet")
	f.caveat(topicPause, s.Paused != nil, "the schedule of backups is paused")
	f.caveat(topicUnderWay, s.Promotion != nil, "a promotion is under way")
	f.caveat(topicUnderWay, s.Handover != nil && s.Promotion == nil, "a handover is under way")
	f.caveat(topicSilent, standby && s.Head != nil && !s.Silent() && s.HeadAge > s.lively(), "the active %s was last seen %s ago", s.Active, Seconds(s.HeadAge))
	if standby && s.LastBackup != nil && s.Head != nil {
		text, rehearsed := rehearsalOutlook(*s)
		f.caveat(topicUnrehearsed, !rehearsed && s.Rehearsed.Error == "", "%s", text)
		for _, text := range s.known.Notes {
			f.caveat(topicLeftOver, true, "%s", text)
		}
		f.caveat(topicBlocked, !s.Ready && len(s.Blockers) == 0, "whether this host has what a promotion needs has not been looked at yet")
	}
	f.caveat(topicNoStandby, s.Role == ha.RoleActive && s.Refused == "" && s.InstancesAge >= 0 && s.standbys() == 0, "there is no standby: nothing could take over from this host; join one with: understudy join")
	if n := len(s.Hit); n > 0 {
		f.caveat(topicPacks, true, "packs are missing from the bucket, or damaged there, that %d backups need, from %s to %s: each says so where backups are listed", n, s.Hit[0], s.Hit[n-1])
	}
	if n := len(s.Damaged); n > 0 {
		f.caveat(topicObjects, true, "the manifests of %d backups are damaged in the bucket or missing from it, from %s to %s: each says so where backups are listed", n, s.Damaged[0], s.Damaged[n-1])
	}
	for _, text := range s.Lacks {
		f.caveat(topicLacks, true, "the newest backup lacks something: %s", text)
	}
	for _, text := range s.known.Kept {
		f.caveat(topicLeftOver, true, "%s", text)
	}
	s.unstoppables(f)
	if s.Takeover != nil {
		for _, text := range s.Takeover.Lost {
			f.caveat(topicLost, true, "%s", text)
		}
	}
}

// lively is for how long, in seconds, the head of an active that is well may be
// seen unchanged: it is renewed every poll, and looked at every poll.
func (s *Status) lively() float64 { return 3*s.known.Poll.Seconds() + livelySlack }

const livelySlack = 5

// SyncGrace is how long a backup may take to be cached and seen to be, in
// seconds.
const SyncGrace = 180

func (s *Status) standbys() (n int) {
	for _, i := range s.Instances {
		if i.Role == ha.RoleStandby && i.State != StateRemoved {
			n++
		}
	}
	return n
}

// Covered reports whether a standby has the newest backup, or there is none
// that could.
func (s *Status) Covered() bool {
	for _, i := range s.Instances {
		if i.State == StateInSync || i.State == StateRehearsalFailed && i.Lag == 0 {
			return true
		}
	}
	return s.standbys() == 0
}

// Silent reports whether the active's heartbeat is stale.
func (s *Status) Silent() bool {
	return s.Head == nil || s.HeadAge >= time.Duration(s.Head.Fencing.TTL+s.Head.Fencing.Margin).Seconds()
}

// Seconds writes a number of seconds for people.
func Seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// unstoppables are what is to be known of hosts on which nothing can stop the
// application.
func (s *Status) unstoppables(f *findings) {
	f.caveat(topicUnstoppable, s.Unstoppable, "nothing on this host can stop the application (neither a demote hook nor understudy exec): a switchover away from here needs somebody who stops it by hand and says so (--application-is-stopped), after a failover it may run beside the new one, and the fencing cannot be strict; configure hooks.demote")
	for _, i := range s.Instances {
		f.caveat(topicUnstoppable, i.Unstoppable && !i.Self && i.State != StateRemoved, "%s: nothing there can stop the application; configure hooks.demote there", i.Name)
	}
	t := s.Takeover
	if t == nil || !t.Unstopped {
		return
	}
	i := slices.IndexFunc(s.Instances, func(i InstanceStatus) bool { return i.Name == t.Old })
	f.caveat(topicUnstoppable, i < 0 || s.Instances[i].Unstoppable, "the application on %s was replaced in epoch %d, and nothing there can stop it: see to it that it does not run; what it has written since is not here", t.Old, t.Epoch)
}

// StopsItself reports whether an instance says that its host can stop the application.
func (s *Status) StopsItself(name string) bool {
	return !slices.ContainsFunc(s.Instances, func(i InstanceStatus) bool { return i.Name == name && i.Unstoppable })
}

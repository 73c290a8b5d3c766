package report

import (
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/ha"
)

// outlook says in one line what promoting this instance would do now, or, on
// the active, what promoting another would; and whether that is all that one
// could wish for.
func outlook(s Status) (text string, good bool) {
	h := s.Head
	switch {
	case s.Promotion != nil:
		return fmt.Sprintf("a promotion is under way (%s)", s.Promotion.Phase), false
	case s.Role == ha.RoleActive && s.Refused == "":
		text, good = Successors(s)
		return "this instance is the active; " + text, good
	case h == nil || s.Bucket != "ok":
		return "not now: the bucket cannot be used", false
	case h.Newest == nil:
		return "not now: the cluster has no backup yet", false
	case s.Demotion != nil && !s.Demotion.Acked:
		return "not now: this instance is still stepping down", false
	case s.Demotion != nil && !s.Demotion.Made:
		return "not now: this instance still owes a salvage backup", false
	case h.Handover != nil && h.Handover.State != ha.Declined && h.Handover.To.Name != s.Instance:
		return "not now: " + h.Handover.To.Name + " is taking over", false
	case len(s.Blockers) > 0:
		return "not now: " + strings.Join(s.Blockers, "; "), false
	}
	rehearsal, good := rehearsalOutlook(s)
	if !s.Ready {
		rehearsal, good = rehearsal+"; what this host lacks for it has not been looked at yet", false
	}
	lossless := "a switchover would lose nothing"
	if !s.StopsItself(s.Active) {
		lossless, good = "a switchover needs somebody who stops the application on "+s.Active+" by hand, for nothing there can, and would lose nothing", false
	}
	switch {
	case h.Stopped:
		return fmt.Sprintf("by failover only: %s has ended in good order, with its application; %s would be lost; %s",
			s.Active, s.lost(), rehearsal), false
	case s.Silent():
		return fmt.Sprintf("by failover only: %s is silent for %s; %s would be lost; %s",
			s.Active, Seconds(s.HeadAge), s.lost(), rehearsal), false
	}
	return fmt.Sprintf("%s; a failover would lose %s; %s", lossless, s.lost(), rehearsal), good && s.logsGood()
}

// Successors says which standbys could take over from this active, as far as
// their records tell.
func Successors(s Status) (text string, good bool) {
	if s.InstancesAge < 0 {
		return "whether a standby could take over is not known yet: their records have not been read", false
	}
	var ready, fetching, others []string
	for _, i := range s.Instances {
		switch {
		case i.Self || i.Role != ha.RoleStandby || i.State == StateRemoved:
		case i.State == StateInSync && i.Ready:
			ready = append(ready, i.Name)
		case i.State == StateBehind && i.Ready:
			fetching = append(fetching, i.Name)
		case len(i.Blockers) > 0:
			others = append(others, i.Name+": "+strings.Join(i.Blockers, "; "))
		case i.State == StateInSync || i.State == StateBehind:
			others = append(others, i.Name+" has not said yet whether its host has what that needs")
		default:
			others = append(others, i.Name+": "+i.State)
		}
	}
	lost := s.lost()
	switch {
	case s.LastBackup == nil:
		return "the cluster has no backup yet that a standby could take over with", false
	case len(ready) > 0:
		return strings.Join(ready, " or ") + " could take over and lose nothing, or, should this host be lost, " + lost, s.logsGood()
	case len(fetching) > 0:
		return strings.Join(fetching, " or ") + " could take over and lose nothing, or, should this host be lost, " + lost + ", once it has fetched the newest backup", false
	case len(others) > 0:
		return "no standby is ready to take over (" + strings.Join(others, ", ") + ")", false
	}
	return "there is no standby", false
}

// rehearsalOutlook says what rehearsal means for a promotion to the newest
// backup, and whether it has passed.
func rehearsalOutlook(s Status) (text string, passed bool) {
	switch newest := s.Head.Newest.ID; {
	case s.Staged == newest && s.Rehearsed == ha.Rehearsed{Backup: newest}:
		return "that backup is rehearsed", true
	case s.Rehearsed.Backup == newest && s.Rehearsed.Error != "":
		return "its rehearsal failed", false
	}
	return "that backup is not rehearsed: it would be restored first", false
}

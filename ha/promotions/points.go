package promotions

import (
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/report"
)

// points says up to when each source of a backup would come back, where logs lead on from it
// or a replica is beyond it, and are not given up; nil: as the backup does.
func (o *Promotions) points(s report.Status, h *ha.Head, chosen control.BackupInfo, withoutLog bool, m *backup.Manifest) []report.SourcePoint {
	now := o.host.Clock.Now().Wall
	var names []string
	for _, e := range m.Sources {
		names = append(names, e.Name)
	}
	all := s.SourcePoints(h, names, now)
	if chosen.Newest && !withoutLog {
		return all
	}
	why := "its log is not applied to an older backup"
	if withoutLog {
		why = "its log is given up"
	}
	for i := range all {
		streamed := all[i].Stream != "" || all[i].Lacks != ""
		all[i] = report.SourcePoint{Source: all[i].Source, Time: chosen.Time, Age: max(0, now.Sub(chosen.Time)).Seconds()}
		if streamed || hasReplica(s, all[i].Source) {
			all[i].Lacks = why + "; the replica here is built anew" + o.tookText(s, chosen.ID)
		}
	}
	return all
}

// pointsAt says up to when each source would come back by a moment.
func (o *Promotions) pointsAt(s report.Status, chosen control.BackupInfo, at *moment) (all []report.SourcePoint) {
	now := o.host.Clock.Now().Wall
	for _, item := range at.is.Items {
		p := report.SourcePoint{Source: item.Entry.Name, Time: chosen.Time}
		if item.Window != nil {
			p.Time, p.Moment = at.time, true
			p.Lacks = "it is built anew here" + o.tookText(s, chosen.ID)
		}
		p.Age = max(0, now.Sub(p.Time)).Seconds()
		all = append(all, p)
	}
	return all
}

// hasReplica reports whether this instance has a replica of a source.
func hasReplica(s report.Status, source string) bool {
	return slices.ContainsFunc(s.Streams, func(one report.StreamStatus) bool { return one.Replica && one.Source == source })
}

// tookText says what a restore took here when it was rehearsed last, of this backup if it
// was.
func (o *Promotions) tookText(s report.Status, id string) string {
	one, found := o.host.Rehearsals.Of(id)
	for _, i := range s.Instances {
		if !found && i.Self && len(i.Rehearsals) > 0 {
			one, found = i.Rehearsals[0], true
		}
	}
	if !found {
		return ", which takes as long as a restore"
	}
	return ", which took " + time.Duration(one.Took).Round(time.Second).String() + " when a backup was rehearsed last"
}

// drop drops what a backup lacks and a log has.
func (r *Reported) drop(points []report.SourcePoint) {
	if r == nil {
		return
	}
	r.Sources = slices.DeleteFunc(r.Sources, func(s SourceReported) bool {
		return slices.ContainsFunc(points, func(p report.SourcePoint) bool { return p.Source == s.Name && (p.Stream != "" || p.Moment) })
	})
}

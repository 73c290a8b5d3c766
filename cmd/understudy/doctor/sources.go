package doctor

import (
	"context"

	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/datadir"
)

// examineSources looks whether each source can be dumped, on the active, or
// restored, on a standby.
func (e *Examiner) examineSources(ctx context.Context, sources []source.Source) []Finding {
	var role ha.Role
	if journal, err := datadir.ReadJournal(e.Set.DataDir); err == nil && journal != nil {
		role = journal.Role
	}
	found := make([]Finding, len(sources))
	for i, s := range sources {
		found[i] = examineSource(ctx, s, role)
	}
	return found
}

// examineSource looks at one source. A host that belongs to no cluster may
// become either.
func examineSource(ctx context.Context, s source.Source, role ha.Role) Finding {
	name := "source " + s.Name()
	if role == ha.RoleStandby {
		return is(name, source.CheckRestore(ctx, s), s.Kind()+", can be restored here")
	}
	f := is(name, s.Check(ctx), s.Kind())
	if f.Result == Bad && role == "" && source.CheckRestore(ctx, s) == nil {
		f.Result = Warning
		f.Detail += "; a standby may lack it: a promotion makes it"
	}
	return f
}

// examineOpenFiles looks whether this user can see who has the sources' files
// open: a promotion looks before it replaces them.
func examineOpenFiles(ctx context.Context, sources []source.Source) Finding {
	const name = "open files"
	var places []holder.Place
	for _, s := range sources {
		held, ok := s.(source.Openable)
		if !ok {
			continue
		}
		live, err := held.Live()
		if err != nil {
			continue // another check says so
		}
		places = append(places, live...)
	}
	found, err := holder.Find(ctx, places, nil)
	if err != nil || found.Blind == "" {
		return is(name, err, "who has a source's files open can be seen")
	}
	return Finding{Name: name, Result: Warning, Detail: found.Blind + "; an application that somebody started on a standby may go unseen"}
}

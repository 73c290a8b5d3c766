package doctor

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

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
		found[i] = e.examineSource(ctx, s, role)
	}
	return found
}

// previewTime bounds the look at all files of a source.
const previewTime = 30 * time.Second

// preview looks for what the first backup would fail at. What is not done in time says
// so, and is no failure.
func preview(ctx context.Context, s source.Source) (unfinished bool, err error) {
	p, ok := s.(source.Previewer)
	if !ok {
		return false, nil
	}
	bounded, cancel := context.WithTimeout(ctx, previewTime)
	defer cancel()
	if err = p.Preview(bounded); bounded.Err() != nil && ctx.Err() == nil {
		return true, nil
	}
	return false, err
}

// examineUser says when somebody else than the agent looks: what the agent may not read
// is not found then.
func (e *Examiner) examineUser() []Finding {
	info, err := os.Stat(e.Set.DataDir)
	if err != nil {
		return nil
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() {
		return nil
	}
	return []Finding{{Name: "user", Result: Warning, Detail: fmt.Sprintf(
		"the data folder %s belongs to user %d, and doctor runs as user %d: whether the agent may read all that it backs up is only seen as its own user", e.Set.DataDir, owner.Uid, os.Geteuid())}}
}

// examineSource looks at one source. A host that belongs to no cluster may
// become either.
func (e *Examiner) examineSource(ctx context.Context, s source.Source, role ha.Role) Finding {
	name := "source " + s.Name()
	if role == ha.RoleStandby {
		return is(name, source.CheckRestore(ctx, s), s.Kind()+", can be restored here")
	}
	unfinished, err := false, s.Check(ctx)
	if err == nil {
		unfinished, err = preview(ctx, s)
	}
	f := is(name, err, s.Kind())
	if unfinished {
		f.Detail += fmt.Sprintf("; not all of it could be looked at within %v", previewTime)
	}
	if f.Result == Bad && role == "" && !e.noCluster && source.CheckRestore(ctx, s) == nil {
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

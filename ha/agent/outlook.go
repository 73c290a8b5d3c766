package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// readiness is what a standby's host was found to lack for a promotion to the
// newest backup. It is safe for concurrent use.
type readiness struct {
	mu       sync.Mutex
	blockers []string

	// The goroutine's own.
	newest string
	live   *Live
	at     time.Duration // monotonic, when the host was looked at last; 0: never
}

const (
	readyPause  = 10 * time.Second // between two looks whether it is time to look
	readyEvery  = 5 * time.Minute  // a host that has everything
	readyAgain  = 30 * time.Second // one that lacks something
	readyWithin = time.Minute      // what a look may take
)

func (r *readiness) read() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blockers
}

func (r *readiness) set(blockers []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blockers = blockers
}

// keepReady looks, on a standby, whether a promotion would work: at every new
// backup, when the configuration file has changed, and now and then.
func (a *Agent) keepReady(ctx context.Context) error {
	return a.whenAdmitted(ctx, func() time.Duration {
		a.lookReady(ctx)
		return readyPause
	})
}

func (a *Agent) lookReady(ctx context.Context) {
	r, core, now := &a.readiness, a.view(), a.cfg.Clock.Now().Mono
	if core.Role != ha.RoleStandby || core.Promotion != nil || core.Demotion != nil || core.Head == nil || core.Head.Newest == nil {
		r.set(nil)
		r.at = 0
		return
	}
	every := readyEvery
	if len(r.read()) > 0 {
		every = readyAgain
	}
	ref, live := *core.Head.Newest, a.live()
	if r.at != 0 && r.newest == ref.ID && r.live == live && now-r.at < every {
		return
	}
	m, err := a.history.get(ctx, ref)
	if err != nil {
		return // the machine tells of a bucket that does not answer, and of a backup that is damaged
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	a.lookAtVolumes(ctx)
	var p Preflight
	p.checkHost(ctx, a, m, false)
	var lacks []string
	for _, c := range p.Checks {
		if !c.OK {
			lacks = append(lacks, c.Detail)
		}
	}
	r.newest, r.live, r.at = ref.ID, live, now
	r.set(lacks)
}

// outlook says in one line what promoting this instance would do now, or, on
// the active, what promoting another would.
func outlook(s Status) string {
	h := s.Head
	switch {
	case s.Promotion != nil:
		return fmt.Sprintf("a promotion is under way (%s)", s.Promotion.Phase)
	case s.Role == ha.RoleActive && s.Refused == "":
		return "this instance is the active; " + successors(s)
	case h == nil || s.Bucket != "ok":
		return "not now: the bucket cannot be used"
	case h.Newest == nil:
		return "not now: the cluster has no backup yet"
	case s.Demotion != nil && !s.Demotion.Acked:
		return "not now: this instance is still stepping down"
	case s.Demotion != nil && !s.Demotion.Made:
		return "not now: this instance still owes a salvage backup"
	case h.Handover != nil && h.Handover.State != ha.Declined && h.Handover.To.Name != s.Instance:
		return "not now: " + h.Handover.To.Name + " is taking over"
	case len(s.Blockers) > 0:
		return "not now: " + strings.Join(s.Blockers, "; ")
	case s.silent():
		return fmt.Sprintf("by failover only: %s is silent for %s; what came after the newest backup (%s ago) would be lost; %s",
			s.Active, seconds(s.HeadAge), seconds(s.LastBackupAge), rehearsalOutlook(s))
	}
	return fmt.Sprintf("a switchover would lose nothing; a failover would lose what came after the newest backup (%s ago); %s",
		seconds(s.LastBackupAge), rehearsalOutlook(s))
}

// successors says which standbys could take over from this active.
func successors(s Status) string {
	var ready, others []string
	for _, i := range s.Instances {
		switch {
		case i.Self || i.Role != ha.RoleStandby || i.State == StateRemoved:
		case i.State == StateInSync:
			ready = append(ready, i.Name)
		default:
			others = append(others, i.Name+": "+i.State)
		}
	}
	switch {
	case len(ready) > 0:
		return fmt.Sprintf("%s could take over and lose nothing, or, should this host be lost, what came after the newest backup (%s ago)",
			strings.Join(ready, " or "), seconds(s.LastBackupAge))
	case len(others) > 0:
		return "no standby is ready to take over (" + strings.Join(others, ", ") + ")"
	}
	return "there is no standby"
}

// rehearsalOutlook says what rehearsal means for a promotion to the newest
// backup.
func rehearsalOutlook(s Status) string {
	switch newest := s.Head.Newest.ID; {
	case s.Staged == newest && s.Rehearsed == ha.Rehearsed{Backup: newest}:
		return "that backup is rehearsed"
	case s.Rehearsed.Backup == newest:
		return "its rehearsal failed"
	}
	return "that backup is not rehearsed: it would be restored first"
}

package ha

import "github.com/understudy-ha/understudy/backup"

// pullLane is what brings the newest backup into the cache of a standby.
type pullLane struct {
	*core
	head     *headLane
	work     *workLane
	sources  *sourcesLane
	farewell *farewellLane

	under    uint64
	yielding bool
	newest   *backup.Ref // the newest backup that is in the cache
	err      string
}

// cached is the newest backup in the cache.
func (pl *pullLane) cached() *backup.Ref { return pl.newest }

// trouble is why the last pull failed.
func (pl *pullLane) trouble() string { return pl.err }

// plan brings the newest backup into the cache: beside a rehearsal, which
// may take longer than backups are apart, and otherwise while nothing else takes
// long.
func (pl *pullLane) plan() {
	if pl.under != 0 || pl.farewell.isLeaving() || pl.work.busy() && !pl.work.does(workRehearsal) || !pl.follows() || !pl.misses() {
		return
	}
	ref := *pl.head.known().Newest
	pl.yielding = false
	pl.under = pl.expect(func(d Done) {
		if d.Outcome != OK {
			pl.err = errText(d.Err)
			if !pl.yielding {
				pl.work.failed("pull", d.Err)
			}
			return
		}
		pl.work.succeeded()
		pl.newest, pl.err = &ref, ""
		pl.report(Info, "pull", "backup %s is cached", ref.ID)
	})
	pl.emit(Pull{ID: pl.under, Ref: ref})
}

// busy reports whether a pull is under way.
func (pl *pullLane) busy() bool { return pl.under != 0 }

// ended notes the end of a pull.
func (pl *pullLane) ended(id uint64) {
	if id == pl.under {
		pl.under = 0
	}
}

// yield has a pull make way.
func (pl *pullLane) yield() {
	if pl.under != 0 {
		pl.yielding = true
		pl.emit(Cancel{ID: pl.under})
	}
}

// follows reports whether this instance is a standby with nothing to settle. One that asks for a
// handover still is: whatever it has by then need not be pulled while the application is stopped.
func (pl *pullLane) follows() bool {
	p := pl.j.Promotion
	return pl.j.Role == RoleStandby && !pl.sources.mayChange() && (p == nil || p.Phase == PhaseHandover || p.Phase == PhaseFinish)
}

// misses reports whether the newest backup is to be pulled now.
func (pl *pullLane) misses() bool {
	h := pl.head.known()
	return h != nil && h.Newest != nil && !same(h.Newest, pl.newest) && pl.work.mayTry()
}

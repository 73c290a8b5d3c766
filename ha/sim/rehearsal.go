package sim

import (
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

// stage is what lies beside a host's state: nothing, or a whole backup, sealed.
type stage struct {
	backup string // its id
	state  *state
	want   uint64 // digest of what was to be staged, where log was applied to the backup
}

// drawRehearsal picks how a world's standbys rehearse.
func drawRehearsal(w *World) ha.RehearsalPolicy {
	return []ha.RehearsalPolicy{{}, {}, {Every: 2 * time.Minute}, {Off: true}}[w.rng.IntN(4)]
}

// putBeside stages a backup, unless it is staged already.
func (p *Process) putBeside(id uint64, backup string) ha.Done {
	if s := p.h.disk.stage; s.backup == backup && p.h.w.verify(backup, s.state) {
		return ha.Done{ID: id, Note: "rehearsed"}
	}
	if p.h.disk.swapped {
		p.h.w.check.fail(Restore, "%s: staged while an earlier swap is neither undone nor finished", p.h.id)
	}
	p.h.disk.stage = stage{} // the one before makes way
	s, err := p.fetch(backup)
	if err != nil || !p.h.w.verify(backup, s) {
		return failed(id, "verify")
	}
	p.h.disk.stage = stage{backup: backup, state: s}
	return ha.Done{ID: id, Note: "restored"}
}

// stage stages a backup, and applies to it what log there is.
func (p *Process) stage(e ha.Stage) ha.Done {
	d := p.putBeside(e.ID, e.Ref.ID)
	st := &p.h.disk.stage
	if last, is := e.Ends[db]; is && d.Err == nil {
		if !p.reaches() {
			return failed(e.ID, "read the log")
		}
		applied, err := p.streams().apply(st.state, last)
		if err != nil {
			p.h.w.trace("%s: %v", p.h.id, err)
			return failed(e.ID, "apply the log")
		}
		st.state, st.want = applied, applied.digest
	}
	return d
}

// whole reports whether a stage is as it was to be.
func (w *World) whole(s stage) bool {
	if s.want != 0 {
		return s.state.digest == s.want
	}
	return w.verify(s.backup, s.state)
}

// rehearse stages a backup and attests it. One that fails leaves the stage
// before it, or none.
func (p *Process) rehearse(e ha.Rehearse) ha.Done {
	d := &p.h.disk
	before := d.stage
	done := p.putBeside(e.ID, e.Ref.ID)
	d.rehearsed = ha.Rehearsed{Backup: e.Ref.ID}
	if done.Err != nil {
		d.rehearsed.Error = done.Err.Error()
		if p.h.w.chance(0.5) {
			d.stage = before
		}
	}
	return done
}

// swapStaged puts the stage into place.
func (p *Process) swapStaged(e ha.Swap) ha.Done {
	d := &p.h.disk
	if pr := d.journal.Promotion; pr == nil || pr.Backup == nil {
		p.h.w.check.fail(Promotion, "%s: swap, and its journal knows of no promotion of a backup", p.h.id)
		return failed(e.ID, "swap")
	}
	switch chosen := d.journal.Promotion.Backup.ID; {
	case d.stage.state == nil:
		return failed(e.ID, "nothing is staged")
	case d.stage.backup != chosen:
		p.h.w.check.fail(Restore, "%s: swapped in backup %s, chosen was %s", p.h.id, d.stage.backup, chosen)
	case !p.h.w.whole(d.stage):
		p.h.w.check.fail(Restore, "%s: swapped in a damaged backup %s", p.h.id, chosen)
	}
	return p.swap(e, d.stage.state)
}

// lastRehearsal is what a process that starts knows of rehearsals.
func (h *Host) lastRehearsal() ha.Rehearsed {
	r := h.disk.rehearsed
	if h.w.rehearsal.Off || r.Error == "" && r.Backup != h.disk.stage.backup {
		return ha.Rehearsed{}
	}
	return r
}

// rehearsedAll reports whether a standby has rehearsed what it should have.
func (h *Host) rehearsedAll(s *ha.Status) bool {
	switch policy := h.w.rehearsal; {
	case h.disk.swapped && h.stuck: // nothing can be staged, and everything else goes on
		return true
	case policy.Off:
		return h.disk.stage == stage{}
	case policy.Every > 0: // there may be a newer backup already
		return s.Rehearsed.Backup != "" && s.Rehearsed.Error == ""
	}
	return s.Rehearsed == ha.Rehearsed{Backup: h.w.head.Newest.ID} && h.disk.stage.backup == h.w.head.Newest.ID
}

// newestCached is the newest cached backup, for a process that starts.
func (h *Host) newestCached() *backup.Ref {
	var newest *backup.Ref
	for id := range h.disk.cache {
		r := h.w.backups[id].ref
		if newest == nil || r.Epoch > newest.Epoch || r.Epoch == newest.Epoch && r.Sequence > newest.Sequence {
			newest = &r
		}
	}
	return newest
}

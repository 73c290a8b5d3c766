package ha

import "github.com/understudy-ha/understudy/backup"

// A name is no identity: a host that is copied, cloned or put back to an earlier
// state has the name, the journal and the incarnations of its original, or of its
// own past. What tells them apart is the head, whose nonces the true one knows, and
// what the agent knows of its data folder (Journal.Doubt). Whoever cannot be the
// true one is refused: its application stays stopped, it acknowledges nothing, and
// what it has is kept as a salvage backup before anything can replace it.

// identityLane is who this process is by the head: the active, a standby, or one that is refused.
type identityLane struct {
	*core
	head      *headLane
	control   *controlLane
	lease     *leaseLane
	schedule  *scheduleLane
	work      *workLane
	restore   *restoreLane
	promotion *promotionLane
	demotion  *demotionLane
	recovery  *recoveryLane

	leading bool   // this process has confirmed a head of its own, and none has replaced it
	refused string // why this process must not be active though its journal says so
	kept    bool   // this process has seen to what a refused one owes
}

// isLeading reports whether this process has confirmed a head of its own.
func (il *identityLane) isLeading() bool { return il.leading }

// refusal is why this process must not be active; "": nothing is in the way.
func (il *identityLane) refusal() string { return il.refused }

// hasKept reports whether this process has seen to what a refused one owes.
func (il *identityLane) hasKept() bool { return il.kept }

// judge says what a head that was read means for this instance. Writes of its own
// that are unresolved come first.
func (il *identityLane) judge() {
	h := il.head.fresh()
	if il.j.Doubt != "" {
		il.doubted(h)
		return
	}
	if il.j.Pending != nil {
		return
	}
	active := il.j.Role == RoleActive
	switch {
	case il.recovery.heir(h):
		il.recovery.inherit(h)
	case active && h.Epoch > il.j.Epoch:
		il.deposed(h)
	case active && h.Nonce == il.j.Last.Nonce:
		il.refused, il.j.Demotion = "", nil
		il.j.Fencing = []Fencing{h.Fencing} // saved with the next write, which comes first
	case active || il.named(h):
		il.foreign(h)
	case il.refused != "":
		il.refused = ""
		il.report(Info, "identity", "%s is the active: this instance is a standby again", h.Active.Name)
	}
}

// leads notes that this process has confirmed a head of its own.
func (il *identityLane) leads() { il.leading, il.refused = true, "" }

// stepsBack has this process lead no more, until a head says so.
func (il *identityLane) stepsBack() { il.leading, il.refused = false, "" }

// accepts ends a refusal: the instance has become the active.
func (il *identityLane) accepts() { il.refused = "" }

// named reports whether a head names this instance as the active.
func (il *identityLane) named(h *Head) bool { return h.Active.Name == il.p.Self.Name }

// deposed follows a head of a later epoch: another instance was promoted, or this
// one was, and its data folder does not know, because it was put back or is a copy.
func (il *identityLane) deposed(h *Head) {
	if il.named(h) {
		il.foreign(h)
		return
	}
	il.demotion.superseded(h)
}

// foreign refuses an instance that finds a head under its own name that it did not
// write: a second host, a cloned or restored one, or a copied data folder. A
// standby that finds one was the active, and was put back to before.
func (il *identityLane) foreign(h *Head) {
	il.leading = false
	il.endStale(h.Epoch)
	if il.refused != "" {
		return
	}
	il.refused = "head.json was written by another process under the name " + h.Active.Name + " (epoch " + utoa(h.Epoch) +
		", incarnation " + h.Active.Incarnation + ", rev " + utoa(h.Rev) + "; this data folder's last was " + il.lastWritten() +
		"): this data folder is a copy, or was restored from an old one, or a second host has this name; its state is kept as a salvage backup; " +
		"promote this instance (understudy promote --failover) or, once that backup is made, join it afresh with: understudy join --replace"
	il.owe(h)
	il.schedule.drop(&Refusal{Reason: il.refused})
	il.report(Alarm, "identity", "not active: %s", il.refused)
}

func (il *identityLane) lastWritten() string {
	if il.j.Last.Nonce == "" {
		return "none"
	}
	return "epoch " + utoa(il.j.Last.Epoch) + ", rev " + utoa(il.j.Last.Rev)
}

// owe notes that a refused instance owes a salvage backup: should it be the
// original after all, it has what no backup has. What this process has made in this
// epoch has everything: it has not run its application since. Of what an earlier
// process made nobody knows that, for the journal may have been put back to before
// this instance led again, or to before an operator started its application.
func (il *identityLane) owe(h *Head) {
	d, kept := il.j.Demotion, il.kept
	il.kept = true
	if kept && d != nil && d.Refused && (d.Epoch == h.Epoch || il.j.Doubt != "") {
		return
	}
	il.j.Demotion = &Demotion{Epoch: h.Epoch, Acked: true, Known: true, Refused: true, Restored: h.Newest, Kept: d.kept()}
	il.demotion.salvageNow()
	il.save(stepDemotionBegun)
}

// kept is the salvage backup that a refused process has made; nil: there is none.
func (d *Demotion) kept() *backup.Ref {
	if d == nil || !d.Refused || !d.Made {
		return nil
	}
	return d.Salvage
}

// frozen reports whether the data folder may be a copy, so that what is unfinished
// in its journal is left alone: the original finishes it. An operator ends that, by
// accepting the data folder, or by promoting the instance.
func (il *identityLane) frozen() bool {
	p := il.j.Promotion
	return il.j.Doubt != "" && (p == nil || !il.promotion.isBegun(p))
}

// doubted refuses an instance whose data folder may be a copy, or put back. Its
// journal says nothing of what it was since: its state may be in no backup. A swap
// that is unfinished by the journal is settled first, once an operator has spoken;
// that this instance led since is noted until then.
func (il *identityLane) doubted(h *Head) {
	il.leading = false
	switch {
	case !il.frozen() || !il.j.Promotion.swapping():
		il.owe(h)
	case il.named(h) && h.Epoch > il.j.Epoch && il.j.Missed == 0:
		il.j.Missed = h.Epoch
		il.save(stepSeen)
	}
}

// noteMissed notes the epochs that began and ended since a standby last looked.
func (il *identityLane) noteMissed(h *Head) {
	if il.j.Role != RoleActive && il.j.Missed == 0 {
		il.j.Missed = il.j.missedBefore(h)
	}
}

// missedBefore is the first epoch before a head's of which it is not known who was active
// in it; 0: there is none. Where the bucket was put back since, the epoch on which a
// recovery went on may be another than the one of its number that was seen. The first
// epoch began with the cluster, and has no marker.
func (j *Journal) missedBefore(h *Head) uint64 {
	from := j.Seen.Epoch + 1
	if r := h.Recovery; r != nil && !j.SeenHead.after(r) {
		from = min(from, max(2, r.Shown.Epoch))
	}
	if j.Seen.Epoch == 0 || from >= h.Epoch {
		return 0
	}
	return from
}

// planMissed reads who was active in epochs that a standby has not seen. It was
// itself where its data folder was put back to before: then it has what it wrote as
// the active, and that is kept before anything else. So it is where nobody can tell:
// somebody may have deleted the marker.
func (il *identityLane) planMissed() bool {
	if il.j.Missed == 0 {
		return false
	}
	if il.j.Role == RoleActive || il.j.Missed >= il.head.fresh().Epoch {
		il.j.Missed = 0
		il.save(stepSeen)
		return false
	}
	epoch := il.j.Missed
	il.control.read(KindMarker, MarkerKey(epoch), "", func(d Done) {
		if d.Outcome == Unknown {
			return
		}
		mk, ok := d.Object.(*Marker)
		switch known := ok && d.Outcome == OK; {
		case !known:
			il.wasActive(epoch, "who was the active in epoch "+utoa(epoch)+" is not known, for its marker is missing or cannot be verified: it may have been this instance, whose data folder was put back since")
		case mk.Active.Name == il.p.Self.Name:
			il.wasActive(epoch, "this data folder was put back, or is a copy: "+il.p.Self.Name+" was the active in epoch "+utoa(epoch)+", and the journal does not know")
		}
		il.j.Missed = epoch + 1
		il.save(stepSeen)
	})
	return true
}

// wasActive has a standby that was put back keep the state that it may have
// written as the active of a later epoch than its journal knows.
func (il *identityLane) wasActive(epoch uint64, why string) {
	h := il.head.known()
	il.j.Demotion = &Demotion{Epoch: epoch, Acked: true, Known: true, Restored: h.Newest}
	il.passes(stepDemotionBegun)
	il.endStale(epoch)
	il.promotion.abort("this data folder was put back to before epoch %d: its state is kept as a salvage backup first", epoch)
	il.report(Alarm, "identity", "%s; its state is kept as a salvage backup", why)
}

// endStale ends a promotion that the journal takes for unfinished though it was
// committed, in this epoch or before: the data folder was put back. What it swapped
// in has been written to since, so it is not swapped back.
func (il *identityLane) endStale(epoch uint64) {
	p := il.j.Promotion
	switch {
	case p == nil || il.frozen():
	case p.Undone, p.Phase == PhaseRollback && il.work.does(workRollback): // the head did not say so when that began
	case p.Phase == PhaseFinish:
		il.promotion.end()
	case !il.restore.maybeSwapped() || p.Epoch == 0 || p.Epoch >= epoch:
	case il.promotion.isBegun(p):
		il.promotion.abort("another process under the name of this instance became the active in epoch %d", epoch)
	default:
		il.restore.committed()
		il.j.Promotion = nil
		il.lease.drop()
		il.refuse(p.ID, "this data folder was put back to before the end of this promotion")
		il.save(stepPromotionEnded)
	}
}

// JoinJournal is the journal with which an instance joins a cluster as a standby,
// where the old one is zero or what its data folder has. Of an old one in the same
// cluster it keeps the highest head seen, and what the instance owes: the state of
// an active is kept as a salvage backup before anything can replace it.
func JoinJournal(old Journal, cluster, instance string, h *Head) Journal {
	j := Journal{
		Format: Format, Cluster: cluster, Instance: instance, Role: RoleStandby,
		Seen: Position{h.Epoch, h.Rev, h.Nonce},
	}
	if old.Cluster != cluster {
		return j
	}
	j.SeenHead, j.Former, j.Unkept = old.SeenHead, old.Former, old.Unkept
	j.Seen, j.Missed, j.Demotion, j.Epoch = old.Seen, old.Missed, old.Demotion, old.Epoch
	renamed := old.Instance != instance && (h.Active.Name == old.Instance || old.Missed > 0 || old.missedBefore(h) > 0)
	if old.Role == RoleActive || old.Doubt != "" || renamed {
		j.Demotion, j.Missed = Owed(old.Epoch, h), 0 // whatever it was since
		j.Demotion.Kept = old.Demotion.kept()
	}
	return j
}

// Owed is a salvage backup that an instance owes which does not know what became of
// its state. Whether an application runs elsewhere it does not know either, so it
// acknowledges nothing. The backup comes after the newest one, in no earlier epoch.
func Owed(epoch uint64, h *Head) *Demotion {
	if h.Newest != nil {
		epoch = max(epoch, h.Newest.Epoch)
	}
	return &Demotion{Epoch: epoch, Acked: true, Silent: true, Known: true, Restored: h.Newest}
}

// Suspect notes that the data folder was found to be a copy, or put back. What its
// journal says of a salvage backup that a refused process made is of before that.
func (j *Journal) Suspect(why string) {
	j.Doubt = why
	if d := j.Demotion; d != nil && d.Refused {
		j.Demotion = nil
	}
}

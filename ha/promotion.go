package ha

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// promotionLane is the promotion of this instance, up to its commit.
type promotionLane struct {
	*core
	head       *headLane
	control    *controlLane
	lease      *leaseLane
	identity   *identityLane
	app        *appLane
	work       *workLane
	rehearsal  *rehearsalLane
	restore    *restoreLane
	commit     *commitLane
	poll       *pollLane
	checkpoint *checkpointLane

	begun     string // the promotion that an operator asked this very process for
	since     instant
	lookedAt  instant // taking over: when the last look at the head was sent
	looked    uint64  // the revision that it found
	downSince instant // taking over: since when the application is down, or earlier; never: not known
	result    *Result
	proven    bool // mustProve has been answered
}

// stepBegan is when the step under way began.
func (pl *promotionLane) stepBegan() instant { return pl.since }

// lastResult is how the last promotion ended; nil: there was none.
func (pl *promotionLane) lastResult() *Result { return pl.result }

// swapping reports whether a promotion that has not committed may have swapped
// its restored state in.
func (p *Promotion) swapping() bool {
	return p != nil && !p.Undone && p.Phase != PhaseFinish && (p.Swapped || p.Phase == PhaseSwap || p.Phase == PhaseCommit)
}

// request checks what can be known at once and begins.
func (pl *promotionLane) request(ev Promote) {
	h := pl.head.known()
	mode := ev.Mode
	if mode == "" {
		mode = ModeSwitchover
	}
	d := pl.j.Demotion
	switch {
	case pl.j.Promotion != nil:
		pl.refuse(ev.Request, "a promotion is under way here already (%s, phase %s)", pl.j.Promotion.ID, pl.j.Promotion.Phase)
	case pl.j.Role == RoleActive && pl.identity.refusal() == "":
		pl.refuse(ev.Request, "this instance is the active already")
	case d != nil && !d.Acked:
		pl.refuse(ev.Request, "this instance is still stepping down from epoch %d: its application has not stopped", d.Epoch)
	case d != nil && !d.Made && !ev.WaiveSalvage:
		pl.refuse(ev.Request, "this instance still owes a salvage backup of its state in epoch %d, which a promotion would replace; wait for it, or waive it", d.Epoch)
	case h == nil || pl.control.isFailing():
		pl.refuse(ev.Request, "the bucket cannot be used: %s", pl.control.trouble())
	case h.Newest == nil:
		pl.refuse(ev.Request, "the cluster has no backup yet")
	case mode == ModeSwitchover && pl.head.silent():
		pl.refuse(ev.Request, "the active %s has shown no sign of life for %v: it cannot hand over; promote without its help: understudy promote --failover", h.Active.Name, (pl.t - pl.head.unchangedSince()).Round(time.Second))
	case mode == ModeSwitchover && h.Active.Name == pl.p.Self.Name:
		pl.refuse(ev.Request, "the head names this very instance as the active: understudy promote --failover")
	case ev.HostIsOff && RefuseHostIsOff(mode, pl.head.fencing().Mode) != "":
		pl.refuse(ev.Request, "%s", RefuseHostIsOff(mode, pl.head.fencing().Mode))
	case ev.AppIsStopped && RefuseAppIsStopped(pl.head.fencing().Mode) != "":
		pl.refuse(ev.Request, "%s", RefuseAppIsStopped(pl.head.fencing().Mode))
	case pl.head.untrueStrict(pl.head.fencing()):
		pl.refuse(ev.Request, "%s", RefuseStrict(pl.p.Self.Name))
	case ev.Moment != nil && (ev.Chosen == nil || ev.WithoutLog):
		pl.refuse(ev.Request, "a moment needs the newest backup that is not later, and the log after it")
	case mode == ModeFailover && ev.Shown != nil && ev.Shown.Digest != h.Newest.Digest:
		pl.refuse(ev.Request, "a newer backup than the one shown has appeared (%s): look again", h.Newest.ID)
	case !ev.AllowFailedRehearsal && pl.rehearsal.failed(ev.Chosen, h.Newest):
		pl.refuse(ev.Request, "%s", RefuseFailed(pl.rehearsal.last().Backup, pl.rehearsal.last().Error))
	default:
		pl.begin(ev, mode)
	}
}

func (pl *promotionLane) begin(ev Promote, mode Mode) {
	pl.j.Promotion = &Promotion{ID: ev.Request, Mode: mode, Chosen: ev.Chosen, Moment: ev.Moment, AllowFailed: ev.AllowFailedRehearsal, WithoutLog: ev.WithoutLog, HostIsOff: ev.HostIsOff, AppIsStopped: ev.AppIsStopped, By: ev.By, Reason: ev.Reason, Phase: PhaseLease}
	pl.begun, pl.j.Pending = ev.Request, nil // none but a doubted data folder has one
	pl.save(PhaseLease.step())
	pl.lease.drop()
	pl.commit.afresh()
	pl.work.atOnce()
	pl.result, pl.since = nil, pl.t
	pl.work.yield() // a pull resumes later; a rehearsal leaves its stage to the restore
	if mode == ModeSwitchover {
		pl.checkpoint.begin()
	}
	pl.report(Info, "promotion", "%s begins, asked by %s", mode, ev.By)
	if ev.Moment != nil {
		pl.report(Warn, "promotion", "%s has chosen the moment %s: what came after it on %s is left out", ev.By, MomentText(*ev.Moment), pl.head.known().Active.Name)
	}
	if ev.WithoutLog {
		pl.report(Warn, "promotion", "%s gives the logs up that come after the backup", ev.By)
	}
	if ev.HostIsOff {
		pl.report(Warn, "promotion", "%s says that the host of %s is off: its application is not waited for", ev.By, pl.head.known().Active.Name)
	}
	if ev.AppIsStopped {
		pl.report(Warn, "promotion", "%s says that the application on %s is stopped", ev.By, pl.head.known().Active.Name)
	}
}

func (pl *promotionLane) cancel(ev CancelPromotion) {
	p := pl.j.Promotion
	switch {
	case p == nil:
		pl.refuse(ev.Request, "no promotion is under way here")
	case p.Phase == PhaseFinish, pl.j.Pending != nil && pl.j.Pending.Commit:
		pl.refuse(ev.Request, "it is too late: the promotion has committed, or is about to")
	default:
		by := ev.By
		if by == "" {
			by = "the operator"
		}
		pl.abort("cancelled by %s", by)
		pl.answer(ev.Request, nil, nil)
	}
}

// isBegun reports whether a promotion is the one that an operator asked this very
// process for.
func (pl *promotionLane) isBegun(p *Promotion) bool { return p.ID == pl.begun }

// abort turns a promotion that has not committed into a rollback.
func (pl *promotionLane) abort(format string, args ...any) {
	p := pl.j.Promotion
	if p == nil || p.Phase == PhaseRollback || p.Phase == PhaseFinish || pl.j.Pending != nil && pl.j.Pending.Commit {
		return
	}
	p.Error = fmt.Sprintf(format, args...)
	p.Phase = PhaseRollback
	if p.Swapped {
		pl.app.doubts() // somebody may have started it on what is swapped back
	}
	pl.save(p.Phase.step())
	pl.commit.afresh()
	pl.work.atOnce()
	pl.work.yield()
	pl.report(Warn, "promotion", "given up: %s", p.Error)
}

// step notes a finished step of the promotion, if one is under way.
func (pl *promotionLane) step(name, note string) {
	p := pl.j.Promotion
	if p == nil {
		return
	}
	p.Steps = append(p.Steps, Step{Name: name, Time: pl.now.Wall, Took: Duration(pl.t - pl.since), Note: note})
	pl.since = pl.t
	if note != "" {
		note = ": " + note
	}
	pl.report(Info, "promotion", "%s is done%s", name, note)
}

// plan picks the promotion's next request; false when there is none.
func (pl *promotionLane) plan() bool {
	p := pl.j.Promotion
	if p == nil {
		return false
	}
	if p.Phase != PhaseFinish && p.Phase != PhaseRollback && pl.lease.keeps() {
		return true
	}
	switch p.Phase {
	case PhaseLease:
		if pl.checkpoint.underWay() {
			return false
		}
		pl.lease.read(pl.lease.take)
		return true
	case PhasePin:
		pl.head.read(pl.pin)
		return true
	case PhaseHandover:
		return pl.awaitHandover()
	case PhaseCommit:
		return pl.commit.plan()
	case PhaseFinish:
		return pl.commit.finish()
	case PhaseRollback:
		switch {
		case p.Undone:
			pl.lease.read(pl.lease.release)
		case pl.mustProve():
			pl.lease.read(pl.prove)
		default:
			return false
		}
		return true
	}
	return false
}

// mustProve reports whether something has still to show that the promotion of an
// earlier process has not committed, before what it may have swapped in is swapped
// back: the data folder may have been put back since, and a cache between here and the
// bucket may show a head of then.
func (pl *promotionLane) mustProve() bool {
	return !pl.proven && !pl.isBegun(pl.j.Promotion) && pl.restore.maybeSwapped()
}

// prove renews the lease that was read, if it is still this promotion's: no cache answers
// a write. Then, or when the lease is not, the head says what has become of it.
func (pl *promotionLane) prove() {
	read := func() { pl.head.read(func() { pl.proven = true }) }
	if !pl.lease.mine() {
		read()
		return
	}
	pl.lease.send(stepLeaseRenew, blobstore.IfMatch(pl.lease.readToken()), read)
}

func (pl *promotionLane) end() {
	p := pl.j.Promotion
	promoted := p.Phase == PhaseFinish
	pl.result = &Result{ID: p.ID, Promoted: promoted, Error: p.Error, Steps: p.Steps, Downtime: p.Downtime, Time: pl.now.Wall, Epoch: pl.j.Epoch, Moment: p.Moment}
	if p.Backup != nil {
		pl.result.Backup = p.Backup.ID
	}
	old := pl.head.known()
	pl.j.Promotion = nil
	pl.lease.drop()
	pl.rehearsal.spent(promoted)
	pl.save(stepPromotionEnded)
	if promoted {
		to := "from backup " + p.Backup.ID
		if p.Moment != nil {
			to = "at the moment " + MomentText(*p.Moment) + ", " + to
		}
		pl.reportBy(p.By, Info, "promotion", "this instance is the active, in epoch %d, %s", pl.j.Epoch, to)
		pl.answer(p.ID, p.Backup, nil)
		return
	}
	if old != nil && (p.Mode == ModeSwitchover || len(p.Streams) > 0) {
		pl.emit(Notify{URL: old.Active.URL}) // so that it takes itself back at once
	}
	pl.reportBy(p.By, Warn, "promotion", "rolled back, everything is as before: %s", p.Error)
	pl.refuse(p.ID, "not promoted, and everything is as before: %s", p.Error)
}

// pin fixes what the promotion is based on, by a head read under the lease.
func (pl *promotionLane) pin() {
	p, h := pl.j.Promotion, pl.head.fresh()
	if p.Phase != PhasePin {
		return
	}
	p.Epoch, p.Rev, p.Newest, p.Old = h.Epoch, h.Rev, h.Newest, h.Active
	pl.downSince, pl.lookedAt, pl.looked = never, pl.since, h.Rev
	p.OldAlive = pl.head.wasAlive() && !pl.head.silent()
	if p.Mode == ModeSwitchover {
		p.Phase = PhaseHandover
		pl.save(p.Phase.step())
		pl.emit(Notify{URL: h.Active.URL})
		return
	}
	pl.endStreams(h)
}

// restoreFrom goes on to restore the chosen backup, or the newest of a head.
func (pl *promotionLane) restoreFrom(h *Head) {
	p := pl.j.Promotion
	p.Newest, p.Backup = h.Newest, p.Chosen
	if p.Backup == nil {
		p.Backup = h.Newest
	}
	p.Ends = ledUpTo(h, p.Ends)
	p.Phase = PhaseRestore
	pl.save(p.Phase.step())
}

// awaitHandover looks at the head until the active has handed over.
func (pl *promotionLane) awaitHandover() bool {
	if !pl.poll.isDueEvery(pl.lookEvery()) {
		return false
	}
	pl.poll.setNext(pl.t + pl.p.Poll)
	sent := pl.t
	pl.head.read(func() {
		p, h := pl.j.Promotion, pl.head.fresh()
		if p == nil || p.Phase != PhaseHandover {
			return
		}
		ho := h.Handover
		mine := ho != nil && ho.Lease == p.ID
		if mine {
			pl.learnDowntime(h.Rev, ho)
		}
		switch {
		case h.Epoch != p.Epoch:
			pl.abort("%s became the active in epoch %d meanwhile", h.Active.Name, h.Epoch)
		case mine && ho.State == Handed:
			if pl.downSince == never {
				pl.downSince = pl.since // when it was asked: not before
			}
			note := "final backup " + h.Newest.ID
			if ho.Unstopped {
				note += "; nothing on " + h.Active.Name + " can stop the application, which is stopped on the word of " + ho.OnWordOf
			}
			pl.step("handover", note)
			pl.endStreams(h)
		case mine && ho.State == Declined:
			pl.abort("the active %s declined: %s", h.Active.Name, ho.Reason)
		case pl.head.silent():
			pl.abort("the active %s fell silent before it had handed over; promote without its help: understudy promote --failover", h.Active.Name)
		case !mine && pl.t-pl.since > pl.patience():
			pl.abort("the active %s did not answer within %v; promote without its help: understudy promote --failover", h.Active.Name, pl.patience())
		case !mine:
			pl.lease.cites(h)
		}
		pl.lookedAt, pl.looked = sent, h.Rev
	})
	return true
}

// lookEvery is how often the head is looked at for a handover: what is seen late costs
// downtime, a tenth of what there has been, or of the wait.
func (pl *promotionLane) lookEvery() time.Duration {
	since := pl.since
	if pl.downSince != never {
		since = pl.downSince
	}
	return min(handoverPoll, max(handoverPoll/20, (pl.t-since)/10))
}

// learnDowntime learns since when the application is down. No clocks are compared: the old
// active says for how long it had been when it wrote a head, which was after the last look
// that did not find that head.
func (pl *promotionLane) learnDowntime(rev uint64, ho *Handover) {
	if ho.StoppedFor == 0 || rev == pl.looked {
		return
	}
	since := max(pl.since, pl.lookedAt-instant(ho.StoppedFor))
	if pl.downSince == never || since > pl.downSince {
		pl.downSince = since
	}
}

// patience is how long an active may take to answer a lease that asks it to hand
// over.
func (pl *promotionLane) patience() time.Duration { return 3*pl.p.Poll + retryFirst }

// measureDowntime notes for how long a switchover has kept the application
// stopped, once it runs here: from what learnDowntime knows, or from when it asked where the
// old active does not say. So it may be less than what is noted, and more only by what one
// request to the store takes.
func (pl *promotionLane) measureDowntime() {
	p := pl.j.Promotion
	if p == nil || p.Phase != PhaseFinish || !pl.app.is(appRunning) || pl.downSince == never {
		return
	}
	p.Downtime = Duration(pl.t - pl.downSince)
	pl.downSince = never
	pl.save(stepSeen)
}

// MomentText writes a moment, for people and to be given again.
func MomentText(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

// failureText says in a few words why a request to the store failed.
func failureText(err error) string {
	store, stale := (*blobstore.Error)(nil), (*staleError)(nil)
	switch {
	case errors.As(err, &stale):
		return stale.Error()
	case !errors.As(err, &store), blobstore.Transient(err), errors.Is(err, blobstore.ErrUnknownOutcome), errors.Is(err, context.DeadlineExceeded):
		return "it does not answer"
	case store.Err != nil:
		return fmt.Sprintf("%v: %v", store.Kind, store.Err)
	}
	return store.Kind.Error()
}

// watch gives up a promotion early when the head shows that it cannot
// commit.
func (pl *promotionLane) watch() {
	p := pl.j.Promotion
	if pl.identity.frozen() || p == nil || p.Phase != PhaseRestore && p.Phase != PhaseSwap {
		return
	}
	if why := pl.commit.pinBroken(); why != "" {
		pl.abort("%s", why)
	}
}

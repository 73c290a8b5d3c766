package sim

import (
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// task is something under way on a host that takes time.
type task struct {
	do    func() ha.Done // carries it out
	half  func()         // does a part of it, and fails; nil: there is no such thing
	done  func(ha.Done)
	fails float64 // how often it fails, if more often than other work
	stop  bool    // it is to stop the application
}

// carryOut is the honest Runner.
func (p *Process) carryOut(e ha.Effect, done func(ha.Done)) {
	h, w := p.h, p.h.w
	switch e := e.(type) {
	case ha.Save:
		p.save(e, done)
	case ha.Read:
		p.read(e, done)
	case ha.Write:
		p.write(e, done)
	case ha.StartApp:
		t := &task{do: func() ha.Done { return p.startApp(e) }, done: done, fails: w.faults.Start}
		t.half = func() { t.do() } // it runs, and its hook failed
		p.begin(e.ID, w.hook(w.between(100*time.Millisecond, 2*time.Second)), t)
	case ha.StopApp:
		p.begin(e.ID, w.hook(w.between(100*time.Millisecond, 5*time.Second)), &task{do: func() ha.Done { return p.stopApp(e.ID) }, done: done, stop: true})
	case ha.FindBackup:
		p.begin(e.ID, w.between(10*time.Millisecond, time.Second), &task{do: func() ha.Done { return p.findBackup(e) }, done: done})
	case ha.Survey:
		p.begin(e.ID, w.between(100*time.Millisecond, 5*time.Second), &task{do: func() ha.Done { return ha.Done{ID: e.ID, Sightings: w.operator.survey(h)} }, done: done})
	case ha.Cancel:
		p.cancel(e.ID)
	case ha.Notify:
		h.notify(e.URL)
	case ha.Answer:
		w.check.answered(p, e)
	case ha.Report:
		w.trace("%s: %s", h.id, e.Text)
	case ha.PrepareStream, ha.Ship, ha.ShipUntil, ha.StopShipping, ha.CloseStreams, ha.EndStreams:
		p.streams().shipStreams(e, done)
	default:
		p.work(e, done)
	}
}

func (p *Process) findBackup(e ha.FindBackup) ha.Done {
	switch {
	case p.h.cut != cutNot:
		return ha.Done{ID: e.ID, Outcome: ha.Unknown, Err: errFault}
	case p.h.w.backups[e.Ref.ID].gone:
		return ha.Done{ID: e.ID, Outcome: ha.Missing, Err: errFault}
	}
	return ha.Done{ID: e.ID}
}

// hook is how long a hook takes that usually takes d. None takes longer than
// the stop time-out: beyond that nothing is promised.
func (w *World) hook(d time.Duration) time.Duration {
	if w.faults.Hooks && !w.healed && w.chance(0.2) {
		return w.between(d, time.Duration(w.fencing.StopTimeout))
	}
	return d
}

// begin has a task done after d, or fail.
func (p *Process) begin(id uint64, d time.Duration, t *task) {
	p.tasks[id] = t
	p.h.after(d, func() {
		if p.tasks[id] != t || !p.alive() {
			return
		}
		delete(p.tasks, id)
		if p.h.w.fails(max(t.fails, p.h.w.faults.Work)) {
			p.fail(id, t)
			return
		}
		t.done(t.do())
	})
}

func (p *Process) fail(id uint64, t *task) {
	if t.half != nil && p.h.w.chance(0.5) {
		t.half()
	}
	if t.stop {
		p.h.fence.stopFailed = p.h.w.now
	}
	t.done(ha.Done{ID: id, Outcome: ha.Failed, Err: errFault})
}

// cancel makes a task end soon, one way or the other.
func (p *Process) cancel(id uint64) {
	t := p.tasks[id]
	if t == nil || p.h.w.chance(0.3) {
		return
	}
	delete(p.tasks, id)
	p.h.after(p.h.w.between(0, time.Second), func() {
		if p.alive() {
			p.fail(id, t)
		}
	})
}

func (p *Process) startApp(e ha.StartApp) ha.Done {
	h := p.h
	h.app, h.foreign = true, false
	h.fence.onWord = h.fence.onWord || h.override == p
	h.w.trace("%s: the application runs", h.id)
	if h.disk.state.broken() {
		h.w.check.fail(Restore, "%s: the application was started on a half-swapped or damaged state", h.id)
	}
	return ha.Done{ID: e.ID}
}

// notify wakes other hosts, as far as the network lets it.
func (h *Host) notify(url string) {
	for _, o := range h.w.hosts {
		if o == h || url != "" && url != "http://"+o.disk.name || h.deaf[o] || h.w.fails(h.w.faults.Request) {
			continue
		}
		h.w.after(h.w.between(10*time.Millisecond, 100*time.Millisecond), func() {
			if p := o.proc; p != nil {
				p.deliver(ha.Notified{})
			}
		})
	}
}

// work carries out what takes long.
func (p *Process) work(e ha.Effect, done func(ha.Done)) {
	h, w := p.h, p.h.w
	var id uint64
	t := &task{done: done}
	switch e := e.(type) {
	case ha.MakeBackup:
		id, t.do = e.ID, func() ha.Done { return p.backup(e) }
	case ha.MakeSalvage:
		id, t.do = e.ID, func() ha.Done { return p.salvage(e) }
	case ha.Pull:
		id, t.do = e.ID, func() ha.Done { return p.pull(e) }
	case ha.Stage:
		id, t.do, t.half = e.ID, func() ha.Done {
			h.staged = w.now
			return p.stage(e)
		}, func() { h.disk.stage = stage{} }
	case ha.Rehearse:
		id, t.do, t.half = e.ID, func() ha.Done { return p.rehearse(e) }, func() { h.disk.stage = stage{} }
	case ha.Checkpoint:
		id, t.do = e.ID, func() ha.Done { return ha.Done{ID: e.ID} }
	case ha.Rejoin: // what it stages, a rehearsal stages as well
		id, t.do = e.ID, func() ha.Done { return ha.Done{ID: e.ID} }
	case ha.Unstage:
		id, t.do = e.ID, func() ha.Done {
			h.disk.stage = stage{}
			return ha.Done{ID: e.ID}
		}
	case ha.Swap:
		id, t.do, t.half = e.ID, func() ha.Done { return p.swapStaged(e) }, func() { p.swap(e, h.disk.state.damaged()) }
	case ha.Rollback:
		id, t.do = e.ID, func() ha.Done { return p.rollback(e) }
	case ha.Discard:
		t.fails = w.faults.Discard
		id, t.do = e.ID, func() ha.Done {
			if h.stuck || h.halfSwapped() {
				return failed(e.ID, "set the replaced state aside")
			}
			if h.disk.givenUp {
				h.disk.replaced.save() // given up, on an operator's word
			}
			h.disk.replaced, h.disk.swapped, h.disk.givenUp = nil, false, false
			return ha.Done{ID: e.ID}
		}
	default:
		panic(fmt.Sprintf("unknown effect %T", e))
	}
	if _, ok := e.(ha.Pull); !ok {
		t.onVolume(h, id)
	}
	d := w.between(50*time.Millisecond, 5*time.Second)
	if w.chance(0.2) {
		d = w.between(0, 40*time.Second)
	}
	p.begin(id, d, t)
}

// onVolume has a task fail, and do nothing, while the volume of the application's
// data is not there: whoever carries it out looks first.
func (t *task) onVolume(h *Host, id uint64) {
	do, half := t.do, t.half
	t.do = func() ha.Done {
		if h.gone {
			return failed(id, "look for the volume")
		}
		return do()
	}
	if half != nil {
		t.half = func() {
			if !h.gone {
				half()
			}
		}
	}
}

func failed(id uint64, text string) ha.Done {
	return ha.Done{ID: id, Outcome: ha.Failed, Err: fmt.Errorf("%s: %w", text, errFault)}
}

func (p *Process) backup(e ha.MakeBackup) ha.Done {
	if !p.reaches() {
		return failed(e.ID, "write packs")
	}
	return ha.Done{ID: e.ID, Changed: true, Ref: p.h.w.keep("backup", e.Epoch, e.Sequence, e.Previous, p.h.disk.state)}
}

func (p *Process) salvage(e ha.MakeSalvage) ha.Done {
	w := p.h.w
	if !p.reaches() {
		return failed(e.ID, "write packs")
	}
	if p.h.halfSwapped() {
		return failed(e.ID, "an unfinished restore is in the way")
	}
	if e.Against != nil && (e.Against.Epoch > e.Epoch || e.Against.Sequence >= e.Sequence) {
		w.check.fail(Chain, "a salvage backup of epoch %d, sequence %d is made on top of %s", e.Epoch, e.Sequence, e.Against.ID)
	}
	if e.Against != nil && !w.backups[e.Against.ID].gone && w.backups[e.Against.ID].state.digest == p.h.disk.state.digest {
		return ha.Done{ID: e.ID}
	}
	if end, is := e.Ends[db]; is {
		if last := w.streams.lastOf(end); last != nil && last.state.contains(p.h.disk.state) {
			return ha.Done{ID: e.ID} // the successor has it all
		}
	}
	return ha.Done{ID: e.ID, Ref: w.keep("salvage", e.Epoch, e.Sequence, e.Against, p.h.disk.state)}
}

// reaches reports whether the bucket can be used for data.
func (p *Process) reaches() bool { return p.admitted && p.h.cut == cutNot && !p.h.astray }

// fetch downloads a backup, or takes it from the cache. What arrives may be
// damaged.
func (p *Process) fetch(id string) (*state, error) {
	w, d := p.h.w, &p.h.disk
	if d.rotten[id] && p.reaches() && !w.backups[id].gone {
		delete(d.rotten, id) // replaced by the store's
	}
	switch {
	case !d.cache[id] && !p.reaches():
		return nil, errFault
	case !d.cache[id] && w.backups[id].gone:
		return nil, errFault
	case d.rotten[id]:
		return w.backups[id].state.damaged(), nil
	}
	s := w.backups[id].state
	if w.fails(w.faults.Corrupt) {
		s = s.damaged()
	}
	return s, nil
}

// verify compares what was restored with the manifest.
func (w *World) verify(id string, s *state) bool { return s.digest == w.backups[id].state.digest }

func (p *Process) pull(e ha.Pull) ha.Done {
	s, err := p.fetch(e.Ref.ID)
	if err != nil || !p.h.w.verify(e.Ref.ID, s) {
		return failed(e.ID, "pull")
	}
	p.h.disk.cache[e.Ref.ID] = true
	delete(p.h.disk.rotten, e.Ref.ID)
	return ha.Done{ID: e.ID}
}

// swap puts s into place, which for half a swap is no good state.
func (p *Process) swap(e ha.Swap, s *state) ha.Done {
	if p.h.demoted < p.h.staged {
		p.h.w.check.fail(Restore, "%s: swap, and the demote hook has not run since the restore", p.h.id)
	}
	if p.h.foreign && !p.blind {
		return failed(e.ID, "somebody has it open")
	}
	p.mustBeStopped("swap")
	d := &p.h.disk
	d.replaced, d.state, d.swapped, d.stage = d.state, s, true, stage{}
	d.givenUp, p.h.waived = p.h.waived, false
	return ha.Done{ID: e.ID}
}

func (p *Process) rollback(e ha.Rollback) ha.Done {
	if d := &p.h.disk; d.swapped {
		if p.h.foreign && !p.blind {
			return failed(e.ID, "somebody has it open")
		}
		p.mustBeStopped("rollback")
		d.state, d.replaced, d.swapped = d.replaced, nil, false
	}
	return ha.Done{ID: e.ID}
}

// halfSwapped reports whether a swap has stopped half-way.
func (h *Host) halfSwapped() bool { return h.disk.swapped && h.disk.state.broken() }

func (p *Process) mustBeStopped(what string) {
	if p.h.app || p.h.foreign {
		p.h.w.check.fail(Restore, "%s: %s while the application runs", p.h.id, what)
	}
}

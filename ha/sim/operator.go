package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

// operator is whoever works on the cluster by hand.
type operator struct{ w *World }

// ask gives a request a name and puts it to a host's agent.
func (op *operator) ask(h *Host, make func(request string) ha.Event) {
	p := h.proc
	if p == nil || p.m == nil || h.frozen() {
		return
	}
	op.w.serial++
	request := fmt.Sprint("request-", op.w.serial)
	ev := make(request)
	if promote, ok := ev.(ha.Promote); ok {
		a := &asked{host: h, disks: h.disks, word: promote.AppIsStopped}
		if !h.app && !h.foreign && !h.disk.swapped {
			a.before = h.disk.state
		}
		op.w.check.promotions[request] = a
		h.waived = h.waived || promote.WaiveSalvage
		op.w.trace("%s: an operator promotes it, %s: mode %q, backup %s", h.id, request, promote.Mode, refID(promote.Chosen))
	}
	p.step(ev)
}

// operator does something at random.
func (op *operator) act() {
	if op.w.healed {
		return
	}
	h := op.w.pick(op.w.hosts)
	switch n := op.w.rng.IntN(20); {
	case n < 9:
		op.ask(h, op.promotion)
		if op.w.chance(0.15) {
			op.w.after(op.w.between(0, 40*time.Second), func() {
				op.ask(h, func(r string) ha.Event { return ha.CancelPromotion{Request: r} })
			})
		}
		if op.w.chance(0.15) {
			op.ask(op.w.pick(op.w.hosts), op.promotion)
		}
	case n < 14:
		op.ask(h, func(r string) ha.Event { return ha.RequestBackup{Request: r, Trigger: backup.Task} })
	case n < 15:
		o := op.leader(h)
		op.ask(o, func(r string) ha.Event { return op.config(o, r) })
	case n < 16:
		op.ask(h, func(r string) ha.Event { return ha.SetPaused{Request: r, Pause: &ha.Pause{By: "operator"}} })
	case n < 18:
		op.ask(h, func(r string) ha.Event { return ha.SetPaused{Request: r} })
		if op.w.tainted {
			op.remedy(h)
		}
	case h.older():
		op.recoverBucket(h)
	case op.w.faults.Rash:
		op.startAnyway(h)
	}
	op.w.after(op.w.between(op.w.faults.Operate/4, 2*op.w.faults.Operate), op.act)
}

// leader is the host whose process the head names; h: there is none.
func (op *operator) leader(h *Host) *Host {
	for _, o := range op.w.hosts {
		if o.proc != nil && o.proc.incarnation == op.w.head.Active.Incarnation {
			return o
		}
	}
	return h
}

// config is any change of what all instances share that concerns the protocol.
func (op *operator) config(h *Host, request string) ha.Event {
	rng := rand.New(rand.NewPCG(op.w.opt.Seed, uint64(op.w.serial))) // of its own: what happens otherwise stays the same
	f := op.w.fencing
	if op.w.opt.Fencing == "" {
		f.Mode = []ha.FencingMode{ha.Available, ha.Strict}[rng.IntN(2)]
	}
	if op.w.unstoppable() && !h.unstoppable {
		f.Mode = ha.Available // its agent refuses anything else
	}
	f.TTL += ha.Duration(rng.IntN(3)) * ha.Duration(20*time.Second)
	f.StopTimeout += ha.Duration(rng.IntN(2)) * ha.Duration(5*time.Second) // hooks take the shortest at most
	f.Margin += ha.Duration(rng.IntN(2)) * ha.Duration(5*time.Second)
	f.TTL = max(f.TTL, ha.Duration(3*poll)+f.StopTimeout+f.Margin)
	frequency := time.Minute + time.Duration(rng.IntN(3))*30*time.Second
	return ha.SetConfig{Request: request, Digest: "config-" + request, Frequency: ha.Duration(frequency), Fencing: f}
}

// promotion is any promotion that an operator could ask for.
func (op *operator) promotion(request string) ha.Event {
	p := ha.Promote{Request: request, Mode: []ha.Mode{"", ha.ModeSwitchover, ha.ModeFailover}[op.w.rng.IntN(3)], By: "operator"}
	if op.w.faults.Rash {
		p.WaiveSalvage = op.w.chance(0.1)
		if len(op.w.published) > 0 && op.w.chance(0.2) {
			p.Chosen = op.anyBackup()
		}
	}
	if op.w.chance(0.2) {
		p.Shown = op.w.head.Newest
	}
	p.HostIsOff = p.Mode == ha.ModeFailover && op.w.chance(0.2)
	if op.w.unstoppable() {
		op.word(&p)
	}
	return p
}

func (op *operator) anyBackup() *backup.Ref {
	ref := op.w.backups[op.w.published[op.w.rng.IntN(len(op.w.published))]].ref
	return &ref
}

// startAnyway starts an active's application without the bucket.
func (op *operator) startAnyway(h *Host) {
	before := h.override // by which it may still run
	op.ask(h, func(r string) ha.Event {
		h.override = h.proc
		return ha.StartAnyway{Request: r, By: "operator"}
	})
	if p := h.proc; p != nil && !p.m.Status().Override {
		h.override = before
	}
}

// remedy is what an operator does who does what the messages of a refused instance
// say: accepts its data folder, promotes it, or joins it afresh. Now and then a
// standby that is well leaves, and joins again.
func (op *operator) remedy(h *Host) {
	p := h.proc
	if p == nil || h.frozen() {
		return
	}
	s := p.m.Status()
	twin := op.w.healed && h.twin() // in the end it is not accepted, nor promoted
	switch {
	case h.disk.journal.Doubt != "" && op.w.chance(0.5) && !twin:
		h.accept()
	case s.Refused != "" && s.Promotion == nil && op.w.chance(0.5) && !twin:
		op.ask(h, func(r string) ha.Event { return ha.Promote{Request: r, Mode: ha.ModeFailover, By: "operator"} })
	case s.Refused != "":
		h.rejoin()
	case s.Role == ha.RoleStandby && s.Head != nil && !s.Owes && op.w.chance(0.3):
		h.crash("the operator has it leave")
		h.w.trace("%s: leaves, and joins again", h.id)
		h.disk.journal, h.disk.stage = ha.Journal{}, stage{}
		h.disk.cache, h.disk.rotten, h.disk.rehearsed = map[string]bool{}, map[string]bool{}, ha.Rehearsed{}
		h.rejoin()
	}
}

// twin reports whether another host has this one's name.
func (h *Host) twin() bool {
	return slices.ContainsFunc(h.w.hosts, func(o *Host) bool { return o != h && o.disk.name == h.disk.name })
}

// accept accepts a data folder that was moved.
func (h *Host) accept() {
	h.crash("the operator stops the agent")
	h.w.trace("%s: the operator accepts the data folder", h.id)
	h.disk.journal.Doubt = ""
	h.boot()
}

// rejoin joins a host afresh, as a standby under its own name or another one, and
// replaces whoever has it. What its journal owes goes along. A restore that is
// unfinished by its journal is rolled back, unless the head says that it was not.
func (h *Host) rejoin() {
	if h.asleep || h.off {
		h.w.after(time.Minute, h.rejoin)
		return
	}
	h.crash("the operator stops the agent")
	w, d := h.w, &h.disk
	old, name := d.journal, d.name
	w.serial++
	if w.chance(0.5) || w.healed && h.twin() {
		name = fmt.Sprint(h.id, "-", w.serial)
	}
	w.trace("%s: the operator joins it afresh, as %s", h.id, name)
	p := old.Promotion
	stale := p != nil && (old.Doubt != "" || w.head.Active.Name == d.name && w.head.Epoch > p.Epoch)
	if d.swapped && (d.state.broken() || p != nil && p.Swapped && p.Phase != ha.PhaseFinish && !stale) {
		h.app = false // nothing is swapped under a running application
		d.state, d.replaced, d.swapped = d.replaced, nil, false
	} else if d.swapped && stale {
		d.replaced.save() // it is kept beside
		d.replaced, d.swapped = nil, false
	}
	d.journal = ha.JoinJournal(old, clusterID, name, w.head)
	d.name = name
	joined := fmt.Sprint(h.id, "-joined-", w.serial)
	w.names[name], d.journal.Incarnations = joined, []string{joined}
	h.foreign, h.locked = false, false
	h.disks++
	h.boot()
}

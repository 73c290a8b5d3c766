package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

// ask gives a request a name and puts it to a host's agent.
func (w *World) ask(h *Host, make func(request string) ha.Event) {
	p := h.proc
	if p == nil || p.m == nil || h.frozen() {
		return
	}
	w.serial++
	request := fmt.Sprint("request-", w.serial)
	ev := make(request)
	if promote, ok := ev.(ha.Promote); ok {
		a := &asked{host: h, disks: h.disks}
		if !h.app && !h.foreign && !h.disk.swapped {
			a.before = h.disk.state
		}
		w.promotions[request] = a
		h.waived = h.waived || promote.WaiveSalvage
		w.trace("%s: an operator promotes it, %s: mode %q, backup %s", h.id, request, promote.Mode, refID(promote.Chosen))
	}
	p.step(ev)
}

// operator does something at random.
func (w *World) operator() {
	if w.healed {
		return
	}
	h := w.pick(w.hosts)
	switch n := w.rng.IntN(20); {
	case n < 9:
		w.ask(h, w.promotion)
		if w.chance(0.15) {
			w.after(w.between(0, 40*time.Second), func() {
				w.ask(h, func(r string) ha.Event { return ha.CancelPromotion{Request: r} })
			})
		}
		if w.chance(0.15) {
			w.ask(w.pick(w.hosts), w.promotion)
		}
	case n < 14:
		w.ask(h, func(r string) ha.Event { return ha.RequestBackup{Request: r, Trigger: backup.Task} })
	case n < 15:
		w.ask(h, w.config)
	case n < 16:
		w.ask(h, func(r string) ha.Event { return ha.SetPaused{Request: r, Pause: &ha.Pause{By: "operator"}} })
	case n < 18:
		w.ask(h, func(r string) ha.Event { return ha.SetPaused{Request: r} })
	case h.older():
		w.recoverBucket(h)
	case w.faults.Rash:
		w.startAnyway(h)
	}
	w.after(w.between(w.faults.Operate/4, 2*w.faults.Operate), w.operator)
}

// config is any change of what all instances share that concerns the protocol.
func (w *World) config(request string) ha.Event {
	rng := rand.New(rand.NewPCG(w.opt.Seed, uint64(w.serial))) // of its own: what happens otherwise stays the same
	f := w.fencing
	if w.opt.Fencing == "" {
		f.Mode = []ha.FencingMode{ha.Available, ha.Strict}[rng.IntN(2)]
	}
	f.TTL += ha.Duration(rng.IntN(3)) * ha.Duration(20*time.Second)
	f.StopTimeout += ha.Duration(rng.IntN(2)) * ha.Duration(5*time.Second) // hooks take the shortest at most
	f.Margin += ha.Duration(rng.IntN(2)) * ha.Duration(5*time.Second)
	f.TTL = max(f.TTL, ha.Duration(3*poll)+f.StopTimeout+f.Margin)
	frequency := time.Minute + time.Duration(rng.IntN(3))*30*time.Second
	return ha.SetConfig{Request: request, Digest: "config-" + request, Frequency: ha.Duration(frequency), Fencing: f}
}

// promotion is any promotion that an operator could ask for.
func (w *World) promotion(request string) ha.Event {
	p := ha.Promote{Request: request, Mode: []ha.Mode{"", ha.ModeSwitchover, ha.ModeFailover}[w.rng.IntN(3)], By: "operator"}
	if w.faults.Rash {
		p.WaiveSalvage = w.chance(0.1)
		if len(w.published) > 0 && w.chance(0.2) {
			p.Chosen = w.anyBackup()
		}
	}
	if w.chance(0.2) {
		p.Shown = w.head.Newest
	}
	p.HostIsOff = p.Mode == ha.ModeFailover && w.chance(0.2)
	return p
}

func (w *World) anyBackup() *backup.Ref {
	ref := w.backups[w.published[w.rng.IntN(len(w.published))]].ref
	return &ref
}

// startAnyway starts an active's application without the bucket.
func (w *World) startAnyway(h *Host) {
	before := h.override // by which it may still run
	w.ask(h, func(r string) ha.Event {
		h.override = h.proc
		return ha.StartAnyway{Request: r, By: "operator"}
	})
	if p := h.proc; p != nil && !p.m.Status().Override {
		h.override = before
	}
}

// rejoin joins a host afresh, as a standby under another name: what an operator
// does with a copy whose name is taken. Its own state is given up.
func (h *Host) rejoin() {
	h.crash("the operator stops the agent")
	h.w.trace("%s: the operator joins it afresh", h.id)
	d := &h.disk
	d.state.save()
	if d.swapped {
		d.state, d.replaced, d.swapped = d.replaced, nil, false
	}
	d.state.save()
	d.journal = ha.Journal{}
	h.w.serial++
	h.disk.name = fmt.Sprint(h.id, "-", h.w.serial)
	h.app, h.foreign, h.locked = false, false, false
	h.disks++
	h.boot()
}

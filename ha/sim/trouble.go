package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// trouble happens at random.
func (w *World) trouble() {
	if w.healed {
		return
	}
	h := w.pick(w.hosts)
	if do := w.faults.Trouble.pick(w); do != nil {
		do(h)
	}
	if t := w.faults.Trouble; t.PutBack+t.Astray > 0 && w.chance(0.2) {
		w.copyBucket()
	}
	if w.chance(0.2) {
		h.snapshots = append(h.snapshots, h.disk.clone())
	}
	w.after(w.between(w.faults.Every/4, 2*w.faults.Every), w.trouble)
}

// pick draws a kind of trouble by its weight.
func (t Weights) pick(w *World) func(*Host) {
	kinds := []struct {
		weight int
		do     func(*Host)
	}{
		{t.Crash, (*Host).fall}, {t.Reboot, (*Host).reboot}, {t.Cut, (*Host).cutOff}, {t.Deaf, (*Host).deafen},
		{t.Stop, (*Host).stop}, {t.Suspend, (*Host).suspend}, {t.Copy, (*Host).copy}, {t.Rollback, (*Host).rollBack},
		{t.Quit, (*Host).quit}, {t.Rot, (*Host).rot}, {t.Foreign, (*Host).startForeign}, {t.Harm, (*Host).harm},
		{t.Vanish, (*Host).vanish}, {t.PutBack, (*Host).putBack}, {t.Astray, (*Host).goAstray},
		{t.Hang, (*Host).hang}, {t.Revert, (*Host).revert},
		{t.Stale, (*Host).fallBehind}, {t.Delete, (*Host).deleteObject},
	}
	sum := 0
	for _, k := range kinds {
		sum += k.weight
	}
	if sum == 0 {
		return nil
	}
	n := w.rng.IntN(sum)
	for _, k := range kinds {
		if n < k.weight {
			return k.do
		}
		n -= k.weight
	}
	return nil
}

// harm damages what a host has staged. That it does so between a promotion's look
// at the stage and its swap is left out.
func (h *Host) harm() {
	d := &h.disk
	if p := d.journal.Promotion; d.stage.state == nil || p != nil && p.Phase != ha.PhaseLease && p.Phase != ha.PhasePin {
		return
	}
	h.w.trace("%s: the stage is damaged", h.id)
	d.stage.state = d.stage.state.damaged()
}

// vanish takes the volume of the application's data away, and later mounts it
// again. Meanwhile the application acknowledges nothing, and what is looked for
// there is not found.
func (h *Host) vanish() {
	if h.gone {
		return
	}
	h.w.trace("%s: the volume of the application's data is not there", h.id)
	h.gone = true
	h.w.after(h.w.pause(), h.mount)
}

func (h *Host) mount() {
	if h.gone {
		h.w.trace("%s: the volume is there again", h.id)
		h.gone = false
	}
}

// startForeign has somebody start the application on a standby: cron, the boot, a
// colleague. What it writes is in no backup, and nobody was promised that it would be.
// That somebody does so between a swap and its commit is left out: then the
// application runs on what is restored, and goes on with it.
func (h *Host) startForeign() {
	j := &h.disk.journal
	if h.app || h.asleep || h.off || j.Role != ha.RoleStandby || j.Demotion != nil || j.Promotion != nil && h.disk.swapped {
		return
	}
	h.w.trace("%s: somebody starts the application", h.id)
	h.foreign = true
	h.forget()
}

// pause is how long a trouble lasts: mostly about as long as a TTL.
func (w *World) pause() time.Duration {
	if w.chance(0.2) {
		return w.between(time.Second, 10*time.Minute)
	}
	return w.between(time.Second, 2*time.Minute)
}

func (h *Host) fall() {
	h.crash("the agent crashes")
	h.w.after(h.w.pause(), h.boot)
}

// farewellWithin is how long an agent that is told to end waits for its farewell.
const farewellWithin = 10 * time.Second

// quit ends the agent in good order, and the application with it; later it is
// started again.
func (h *Host) quit() {
	p := h.proc
	if p == nil || h.frozen() {
		return
	}
	h.w.trace("%s: the agent is told to end", h.id)
	p.step(ha.Farewell{Request: farewell})
	h.after(farewellWithin, func() { h.quitted(p) })
}

// quitted is the end of a process that was told to end.
func (h *Host) quitted(p *Process) {
	if h.proc != p {
		return
	}
	h.app = h.app && h.unstoppable
	h.crash("the agent has ended in good order")
	if h.w.healed {
		h.boot()
		return
	}
	h.w.after(h.w.pause(), h.boot)
}

// farewell is the request of a process that ends.
const farewell = "farewell"

func (h *Host) cutOff() {
	h.cut = []cut{cutBoth, cutBoth, cutAnswers}[h.w.rng.IntN(3)]
	h.w.trace("%s: cut off from the store (%d)", h.id, h.cut)
	h.w.after(h.w.pause(), h.reconnect)
}

func (h *Host) reconnect() {
	if h.cut == cutNot {
		return
	}
	h.w.trace("%s: no longer cut off", h.id)
	h.cut = cutNot
	h.unwell(h.w.now + requestTimeout) // one may still be waiting
}

// deafen keeps another host's notifications away.
func (h *Host) deafen() {
	o := h.w.pick(h.w.hosts)
	o.deaf[h] = true
	h.w.after(h.w.pause(), func() { delete(o.deaf, h) })
}

// stop stops the agent's process, and later continues it. The application
// goes on.
func (h *Host) stop() {
	p := h.proc
	if p == nil || h.frozen() {
		return
	}
	h.w.trace("%s: the agent is stopped", h.id)
	h.stopped = true
	h.w.after(h.w.pause(), func() { h.goOn(p) })
}

func (h *Host) goOn(p *Process) {
	if !h.stopped || h.proc != p {
		return
	}
	h.w.trace("%s: the agent goes on", h.id)
	h.stopped = false
	h.resume()
}

// suspend suspends the whole host, and later resumes it.
func (h *Host) suspend() {
	if h.asleep {
		return
	}
	h.w.trace("%s: the host is suspended", h.id)
	h.asleep, h.fellAsleep = true, h.w.now
	since := h.fellAsleep
	h.w.after(h.w.pause(), func() {
		if h.fellAsleep == since {
			h.wakeUp()
		}
	})
}

func (h *Host) wakeUp() {
	if !h.asleep {
		return
	}
	h.w.trace("%s: the host resumes", h.id)
	h.asleep = false
	h.clock.slept += h.w.now - h.fellAsleep
	h.resume()
}

func (h *Host) resume() {
	h.fence.resumed = h.w.now
	h.unwell(h.w.now)
	h.thaw()
}

// copy makes a second host of this one's disk, which boots.
func (h *Host) copy() {
	if len(h.w.hosts) > 6 || h.locked || h.w.head.Newest == nil {
		return
	}
	w := h.w
	w.tainted = true
	w.serial++
	c := w.newHost(h.id+"-copy-"+string(rune('a'+w.serial%26)), h.disk.name)
	w.trace("%s: is copied, to %s", h.id, c.id)
	c.disk, c.disks = h.disk.clone(), h.disks+1
	if h.unstoppable {
		c.leaveToPeople()
	}
	c.doubt()
	w.after(w.between(0, time.Minute), c.boot)
}

// rollBack puts the host's disk back to a snapshot and starts it. What was
// written since is gone, by the operator's doing.
func (h *Host) rollBack() {
	if len(h.snapshots) == 0 || h.w.head.Newest == nil { // without a backup nothing but init helps
		return
	}
	w := h.w
	w.tainted = true
	h.reboot()
	w.trace("%s: is put back to a snapshot", h.id)
	h.disk.giveUp()
	h.disk = h.snapshots[w.rng.IntN(len(h.snapshots))].clone()
	h.disks++
	h.comeBack()
	h.locked = false
	h.doubt()
}

// revert puts the data folder alone back, while the agent is stopped. The
// application's data stays, and with it what was written since.
func (h *Host) revert() {
	if len(h.snapshots) == 0 || h.w.head.Newest == nil || h.asleep || h.off {
		return
	}
	w := h.w
	w.tainted = true
	h.crash("the operator stops the agent")
	if h.disk.state.broken() { // who puts it back amid a swap loses the way back
		w.after(w.between(0, time.Minute), h.boot)
		return
	}
	w.trace("%s: its data folder is put back", h.id)
	old := h.snapshots[w.rng.IntN(len(h.snapshots))].clone()
	if w.undid(h.disk.name) {
		h.giveUp()
	}
	renamed := h.disk.name != old.name || h.ledUnderAnother(old.name)
	h.disk.name, h.disk.journal = old.name, old.journal
	h.disk.cache, h.disk.rotten, h.disk.rehearsed = old.cache, old.rotten, old.rehearsed
	h.disks++
	h.forgetStrict()
	h.comeBack()
	h.locked = false
	if h.doubt(); renamed { // under another name nothing but the data folder tells
		h.disk.journal.Suspect(seenCopied)
	}
	w.after(w.between(0, time.Minute), h.boot)
}

// forgetStrict has a host whose application runs on go by what its data folder says,
// where that is of before the fencing became strict.
func (h *Host) forgetStrict() {
	j := &h.disk.journal
	if j.Role == ha.RoleActive && len(j.Fencing) > 0 && !slices.ContainsFunc(j.Fencing, func(f ha.Fencing) bool { return f.Mode == ha.Strict }) {
		h.fence.under = j.Fencing[0]
	}
}

// ledUnderAnother reports whether a host was the active under another name than this.
func (h *Host) ledUnderAnother(name string) bool {
	for _, head := range h.w.commits {
		if h.ran[head.Active.Incarnation] && head.Active.Name != name {
			return true
		}
	}
	return false
}

const seenCopied = "the data folder was copied"

// doubt has a data folder that was copied, or put back, notice that: as often as
// not it was done below the file system.
func (h *Host) doubt() {
	if h.w.chance(0.5) {
		h.disk.journal.Suspect(seenCopied)
	}
}

// rot spoils the cached copies of some backups.
func (h *Host) rot() {
	h.w.trace("%s: a part of the cache rots", h.id)
	for _, id := range slices.Sorted(maps.Keys(h.disk.cache)) {
		if h.w.chance(0.5) {
			h.disk.rotten[id] = true
		}
	}
}

// giveUp notes that what a disk holds is gone on purpose.
func (d *disk) giveUp() {
	d.state.save()
	d.replaced.save()
}

package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// mishaps are what goes wrong with hosts, and with what is in the bucket.
type mishaps struct{ w *World }

// trouble happens at random.
func (m *mishaps) trouble() {
	if m.w.healed {
		return
	}
	h := m.w.pick(m.w.hosts)
	if do := m.w.faults.Trouble.pick(m.w); do != nil {
		do(h)
	}
	if t := m.w.faults.Trouble; t.PutBack+t.Astray > 0 && m.w.chance(0.2) {
		m.copyBucket()
	}
	if m.w.chance(0.2) {
		h.snapshots = append(h.snapshots, h.disk.clone())
	}
	m.w.after(m.w.between(m.w.faults.Every/4, 2*m.w.faults.Every), m.trouble)
}

// pick draws a kind of trouble by its weight.
func (t Weights) pick(w *World) func(*Host) {
	kinds := []struct {
		weight int
		do     func(*Host)
	}{
		{t.Crash, w.mishaps.fall}, {t.Reboot, (*Host).reboot}, {t.Cut, w.mishaps.cutOff}, {t.Deaf, w.mishaps.deafen},
		{t.Stop, w.mishaps.stop}, {t.Suspend, w.mishaps.suspend}, {t.Copy, w.mishaps.copy}, {t.Rollback, w.mishaps.rollBack},
		{t.Quit, w.mishaps.quit}, {t.Rot, w.mishaps.rot}, {t.Foreign, w.mishaps.startForeign}, {t.Harm, w.mishaps.harm},
		{t.Vanish, w.mishaps.vanish}, {t.PutBack, w.mishaps.putBack}, {t.Astray, w.mishaps.goAstray},
		{t.Hang, w.mishaps.hang}, {t.Revert, w.mishaps.revert},
		{t.Stale, w.mishaps.fallBehind}, {t.Delete, w.mishaps.deleteObject},
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
func (m *mishaps) harm(h *Host) {
	d := &h.disk
	if p := d.journal.Promotion; d.stage.state == nil || p != nil && p.Phase != ha.PhaseLease && p.Phase != ha.PhasePin {
		return
	}
	m.w.trace("%s: the stage is damaged", h.id)
	d.stage.state = d.stage.state.damaged()
}

// vanish takes the volume of the application's data away, and later mounts it
// again. Meanwhile the application acknowledges nothing, and what is looked for
// there is not found.
func (m *mishaps) vanish(h *Host) {
	if h.gone {
		return
	}
	m.w.trace("%s: the volume of the application's data is not there", h.id)
	h.gone = true
	m.w.after(m.pause(), func() { m.mount(h) })
}

func (m *mishaps) mount(h *Host) {
	if h.gone {
		m.w.trace("%s: the volume is there again", h.id)
		h.gone = false
	}
}

// startForeign has somebody start the application on a standby: cron, the boot, a
// colleague. What it writes is in no backup, and nobody was promised that it would be.
// That somebody does so between a swap and its commit is left out: then the
// application runs on what is restored, and goes on with it.
func (m *mishaps) startForeign(h *Host) {
	j := &h.disk.journal
	if h.app || h.asleep || h.off || j.Role != ha.RoleStandby || j.Demotion != nil || j.Promotion != nil && h.disk.swapped {
		return
	}
	m.w.trace("%s: somebody starts the application", h.id)
	h.foreign = true
	h.forget()
}

// pause is how long a trouble lasts: mostly about as long as a TTL.
func (m *mishaps) pause() time.Duration {
	if m.w.chance(0.2) {
		return m.w.between(time.Second, 10*time.Minute)
	}
	return m.w.between(time.Second, 2*time.Minute)
}

func (m *mishaps) fall(h *Host) {
	h.crash("the agent crashes")
	m.w.after(m.pause(), h.boot)
}

// farewellWithin is how long an agent that is told to end waits for its farewell.
const farewellWithin = 10 * time.Second

// quit ends the agent in good order, and the application with it; later it is
// started again.
func (m *mishaps) quit(h *Host) {
	p := h.proc
	if p == nil || h.frozen() {
		return
	}
	m.w.trace("%s: the agent is told to end", h.id)
	p.leaving = true
	p.step(ha.Farewell{Request: farewell})
	h.after(farewellWithin, func() { m.quitted(h, p) })
}

// quitted is the end of a process that was told to end.
func (m *mishaps) quitted(h *Host, p *Process) {
	if h.proc != p {
		return
	}
	h.app = h.app && h.unstoppable
	h.crash("the agent has ended in good order")
	if m.w.healed {
		h.boot()
		return
	}
	m.w.after(m.pause(), h.boot)
}

// farewell is the request of a process that ends.
const farewell = "farewell"

func (m *mishaps) cutOff(h *Host) {
	h.cut = []cut{cutBoth, cutBoth, cutAnswers}[m.w.rng.IntN(3)]
	m.w.trace("%s: cut off from the store (%d)", h.id, h.cut)
	m.w.after(m.pause(), func() { m.reconnect(h) })
}

func (m *mishaps) reconnect(h *Host) {
	if h.cut == cutNot {
		return
	}
	m.w.trace("%s: no longer cut off", h.id)
	h.cut = cutNot
	h.unwell(m.w.now + requestTimeout) // one may still be waiting
}

// deafen keeps another host's notifications away.
func (m *mishaps) deafen(h *Host) {
	o := m.w.pick(m.w.hosts)
	o.deaf[h] = true
	m.w.after(m.pause(), func() { delete(o.deaf, h) })
}

// stop stops the agent's process, and later continues it. The application
// goes on.
func (m *mishaps) stop(h *Host) {
	p := h.proc
	if p == nil || h.frozen() {
		return
	}
	m.w.trace("%s: the agent is stopped", h.id)
	h.stopped = true
	m.w.after(m.pause(), func() { m.goOn(h, p) })
}

func (m *mishaps) goOn(h *Host, p *Process) {
	if !h.stopped || h.proc != p {
		return
	}
	m.w.trace("%s: the agent goes on", h.id)
	h.stopped = false
	m.resume(h)
}

// suspend suspends the whole host, and later resumes it.
func (m *mishaps) suspend(h *Host) {
	if h.asleep {
		return
	}
	m.w.trace("%s: the host is suspended", h.id)
	h.asleep, h.fellAsleep = true, m.w.now
	since := h.fellAsleep
	m.w.after(m.pause(), func() {
		if h.fellAsleep == since {
			m.wakeUp(h)
		}
	})
}

func (m *mishaps) wakeUp(h *Host) {
	if !h.asleep {
		return
	}
	m.w.trace("%s: the host resumes", h.id)
	h.asleep = false
	h.clock.slept += m.w.now - h.fellAsleep
	m.resume(h)
}

func (m *mishaps) resume(h *Host) {
	h.fence.resumed = m.w.now
	h.unwell(m.w.now)
	h.thaw()
}

// copy makes a second host of this one's disk, which boots.
func (m *mishaps) copy(h *Host) {
	if len(m.w.hosts) > 6 || h.locked || m.w.head.Newest == nil {
		return
	}
	w := m.w
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
func (m *mishaps) rollBack(h *Host) {
	if len(h.snapshots) == 0 || m.w.head.Newest == nil { // without a backup nothing but init helps
		return
	}
	w := m.w
	w.tainted = true
	h.reboot()
	w.trace("%s: is put back to a snapshot", h.id)
	h.disk.giveUp()
	h.disk = h.snapshots[w.rng.IntN(len(h.snapshots))].clone()
	h.disks++
	m.comeBack(h)
	h.locked = false
	h.doubt()
}

// revert puts the data folder alone back, while the agent is stopped. The
// application's data stays, and with it what was written since.
func (m *mishaps) revert(h *Host) {
	if len(h.snapshots) == 0 || m.w.head.Newest == nil || h.asleep || h.off {
		return
	}
	w := m.w
	w.tainted = true
	h.crash("the operator stops the agent")
	if h.disk.state.broken() { // who puts it back amid a swap loses the way back
		w.after(w.between(0, time.Minute), h.boot)
		return
	}
	w.trace("%s: its data folder is put back", h.id)
	old := h.snapshots[w.rng.IntN(len(h.snapshots))].clone()
	if w.undid(h.disk.name) {
		m.giveUp(h)
	}
	renamed := h.disk.name != old.name || h.ledUnderAnother(old.name)
	h.disk.name, h.disk.journal = old.name, old.journal
	h.disk.cache, h.disk.rotten, h.disk.rehearsed = old.cache, old.rotten, old.rehearsed
	h.disks++
	m.forgetStrict(h)
	m.comeBack(h)
	h.locked = false
	if h.doubt(); renamed { // under another name nothing but the data folder tells
		h.disk.journal.Suspect(seenCopied)
	}
	w.after(w.between(0, time.Minute), h.boot)
}

// forgetStrict has a host whose application runs on go by what its data folder says,
// where that is of before the fencing became strict.
func (m *mishaps) forgetStrict(h *Host) {
	j := &h.disk.journal
	if j.Role == ha.RoleActive && len(j.Fencing) > 0 && !slices.ContainsFunc(j.Fencing, func(f ha.Fencing) bool { return f.Mode == ha.Strict }) {
		h.fence.under = j.Fencing[0]
	}
}

// ledUnderAnother reports whether a host was the active under another name than this.
func (h *Host) ledUnderAnother(name string) bool {
	for _, head := range h.w.check.commits {
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
func (m *mishaps) rot(h *Host) {
	m.w.trace("%s: a part of the cache rots", h.id)
	for _, id := range slices.Sorted(maps.Keys(h.disk.cache)) {
		if m.w.chance(0.5) {
			h.disk.rotten[id] = true
		}
	}
}

// giveUp notes that what a disk holds is gone on purpose.
func (d *disk) giveUp() {
	d.state.save()
	d.replaced.save()
}

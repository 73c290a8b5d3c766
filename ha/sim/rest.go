package sim

import (
	"slices"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

const (
	// settleBound is how long after the last fault a cluster comes to rest by
	// itself. It is the sum of the longest waits that can follow one another: for
	// requests that land late (lateBy), for a lease to go stale (TTL plus margin),
	// for the old active under strict fencing (the same again), and for the work
	// of a promotion or a salvage, failed attempts before included.
	settleBound = 7 * time.Minute
	// helpedBound is the same where hosts were copied or put back, so that an
	// operator has to promote, perhaps more than once.
	helpedBound = 30 * time.Minute
)

// heal ends all trouble.
func (w *World) heal() {
	w.trace("everything heals")
	w.healed = true
	w.mishaps.restoreHead()
	for _, h := range w.hosts {
		w.mishaps.reconnect(h)
		w.mishaps.comeBack(h)
		w.mishaps.catchUp(h)
		w.mishaps.mend(h)
		clear(h.deaf)
		w.mishaps.wakeUp(h)
		h.foreign = false
		w.mishaps.mount(h)
		if h.stopped {
			w.mishaps.goOn(h, h.proc)
		}
		h.up()
		h.boot()
	}
	w.after(lateBy, w.rest)
	if w.tainted {
		w.after(2*lateBy, w.help)
	}
}

// rest looks every second whether the cluster has come to rest, and ends the
// run when it has.
func (w *World) rest() {
	bound := settleBound
	if w.tainted {
		bound = helpedBound
	}
	switch {
	case w.atRest():
		w.check.end()
		w.queue = eventQueue{}
	case w.now > w.opt.Duration+bound:
		w.check.fail(Progress, "not at rest %v after everything healed:\n%s", bound, w.describe())
	default:
		w.resumeSchedules()
		w.after(time.Second, w.rest)
	}
}

// resumeSchedules undoes what operators paused.
func (w *World) resumeSchedules() {
	for _, h := range w.hosts {
		if h.disk.journal.Paused != nil {
			w.operator.ask(h, func(r string) ha.Event { return ha.SetPaused{Request: r} })
		}
	}
}

// atRest reports whether one active leads, with its application running and
// everything backed up, and all others are standbys that have what it has.
func (w *World) atRest() bool {
	leading := 0
	for _, h := range w.hosts {
		if h.proc == nil || !h.proc.admitted || h.frozen() {
			return false
		}
		s := h.proc.m.Status()
		if s.Older != nil || s.Promotion != nil || s.Demotion != nil || s.Handover != nil || s.Refused != "" || s.Head == nil || s.Head.Newest == nil {
			return false
		}
		if s.Role == ha.RoleStandby {
			if h.app || s.Pulled != w.head.Newest.ID || !h.rehearsedAll(&s) {
				return false
			}
			continue
		}
		if !s.Leading || !h.app || !w.streams.allShipped(h) || w.backups[s.Head.Newest.ID].state.digest != h.disk.state.digest {
			return false
		}
		leading++
	}
	return leading == 1
}

// help is the operator whom a copied host, or one that was put back, needs: a
// failover to a standby ends the dispute about who is the active.
func (w *World) help() {
	for _, h := range w.hosts { // a data folder is accepted before anything is said of the bucket
		if h.proc != nil && h.proc.admitted && h.disk.journal.Doubt != "" {
			w.operator.remedy(h)
		}
	}
	if older := slices.IndexFunc(w.hosts, (*Host).older); older >= 0 {
		w.operator.recoverBucket(w.hosts[older])
		w.after(w.between(time.Minute, 2*time.Minute), w.help)
		return
	}
	var able []*Host
	for _, h := range w.hosts {
		if h.proc == nil || !h.proc.admitted {
			continue
		}
		s := h.proc.m.Status()
		if s.Refused != "" {
			w.operator.remedy(h)
			continue
		}
		if h.halfSwapped() && s.Promotion == nil { // what cannot be set aside or salvaged says so
			h.rejoin()
			continue
		}
		if s.Role == ha.RoleStandby && s.Demotion == nil {
			h.stuck = false // the refusal has named what is in the way
			able = append(able, h)
		}
	}
	if len(able) > 0 && !w.atRest() {
		w.operator.ask(w.pick(able), func(r string) ha.Event {
			return ha.Promote{Request: r, Mode: ha.ModeFailover, By: "operator", WithoutLog: w.logLost()}
		})
	}
	w.after(w.between(2*time.Minute, 4*time.Minute), w.help)
}

// end checks what only the end can show.
func (c *checker) end() {
	for _, h := range c.w.hosts {
		if h.disk.givenUp && h.disk.swapped {
			h.disk.replaced.save() // given up, and still there
		}
	}
	for _, s := range c.w.writes {
		if !s.saved {
			c.fail(Durability, "write %d is in no backup and no salvage backup", s.write)
			return
		}
	}
	for epoch := range c.commits {
		key := ha.MarkerKey(epoch)
		if _, ok := c.w.store.objects[key]; !ok && !c.w.deleted[key] {
			c.fail(Chain, "the fork of epoch %d has no marker", epoch)
			return
		}
	}
	for key, initial := range map[string]string{ha.HeadKey: genesis, ha.LeaseKey: ""} {
		if !c.w.history.linearizable(key, initial) {
			c.fail(History, "what the clients saw of %s is not linearizable", key)
			return
		}
	}
}

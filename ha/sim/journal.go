package sim

import (
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// diskState is how writes to a host's data folder go.
type diskState int

const (
	diskWell  diskState = iota
	diskHangs           // they do not end
	diskFails           // they fail
)

const (
	// journalPatience is how long an effect waits for the journal.
	journalPatience = 10 * time.Second
	// journalPause is between two attempts to write it.
	journalPause = time.Second
)

// save makes the journal durable, once the disk lets it.
func (p *Process) save(e ha.Save, done func(ha.Done)) {
	h := p.h
	switch {
	case !p.alive():
	case h.writes == diskHangs || h.frozen():
		h.after(journalPause, func() { p.save(e, done) })
		p.giveUp()
	case h.writes == diskFails:
		done(ha.Done{Outcome: ha.Failed, Err: errFault})
	default:
		h.w.check.journal(e.Journal)
		h.disk.journal = e.Journal
		done(ha.Done{})
	}
}

// saved goes on after an attempt to write the journal.
func (p *Process) saved(d ha.Done) {
	switch {
	case !p.alive():
	case d.Outcome == ha.OK:
		p.obey(p.barrier.Saved())
	default:
		p.h.after(journalPause, func() {
			if p.alive() {
				p.run(p.barrier.Again(), p.saved)
			}
		})
		p.giveUp()
	}
}

// giveUp ends what has waited too long for the journal.
func (p *Process) giveUp() {
	if !p.h.frozen() {
		p.barrier.GiveUp(p.clock().Mono - journalPatience)
		p.obey(nil)
	}
}

// clock is what the process reads on its host's clocks.
func (p *Process) clock() ha.Now {
	now := p.h.clock.read(p.h.w.now)
	if p.h.w.opt.Clock != nil {
		now = p.h.w.opt.Clock(p.h, now)
	}
	return now
}

// hang has the disk of the data folder hang, or fail, for a while.
func (m *mishaps) hang(h *Host) {
	if h.writes != diskWell {
		return
	}
	h.writes = []diskState{diskHangs, diskFails}[m.w.rng.IntN(2)]
	m.w.trace("%s: the disk of the data folder does not work (%d)", h.id, h.writes)
	m.w.after(m.pause(), func() { m.mend(h) })
}

func (m *mishaps) mend(h *Host) {
	if h.writes == diskWell {
		return
	}
	m.w.trace("%s: the disk works again", h.id)
	h.writes = diskWell
	h.unwell(m.w.now + journalPatience)
}

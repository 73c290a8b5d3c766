package runner

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

// journaling writes the journal beside the loop, which never waits for a disk: one
// that hangs, or fails, holds up what depends on the journal and nothing else. It is
// the loop's own.
type journaling struct {
	barrier ha.Barrier
	done    chan error // how the write under way has ended; has room for it
	writing bool
	begun   time.Duration // when the journal that is not durable yet was tried first
	again   time.Duration // when one that has failed is tried again; 0: none has
}

const (
	// journalPatience is how long a journal may take to be written before it is a
	// trouble, and before what waits for it is given up.
	journalPatience = 10 * time.Second
	journalPause    = time.Second     // after an attempt that has failed
	journalEnd      = 5 * time.Second // that an agent which ends waits for the write under way
)

const journalTrouble = "journal"

// obey carries out what the machine asks for, as far as it waits for no journal.
func (r *Runner) obey(ctx context.Context, effects ...ha.Effect) {
	for _, e := range effects {
		r.carryOut(ctx, e)
	}
	for _, d := range r.journal.barrier.Ended() {
		r.effects.Go(func() { r.cfg.Inbox.Post(d) })
	}
}

// save begins to make the journal durable.
func (r *Runner) save(e ha.Save) {
	w := &r.journal
	now := r.cfg.Clock.Now().Mono
	if w.again == 0 {
		w.begun = now
	}
	w.writing, w.again = true, 0
	go func() { // not one of the effects: it may never end
		w.done <- r.cfg.Steps.Do("journal."+string(e.Step), func() error { return r.cfg.Disk.SaveJournal(e.Journal) })
	}()
}

// journaled takes in how the write of a journal has ended.
func (r *Runner) journaled(ctx context.Context, err error) {
	w := &r.journal
	w.writing = false
	if err != nil {
		w.again = r.cfg.Clock.Now().Mono + journalPause
		r.cfg.Log.Trouble(ctx, journalTrouble, "", fmt.Sprintf("the journal cannot be written, and without it nothing begins that has to be known after a crash: no renewal, no backup, no start of the application: put the disk of the data folder right: %v", err))
		return
	}
	r.obey(ctx, w.barrier.Saved()...)
	if !w.writing {
		r.cfg.Log.TroubleOver(ctx, journalTrouble, "", "the journal can be written again")
	}
}

// watchJournal looks after a journal that is not durable yet.
func (r *Runner) watchJournal(ctx context.Context, now time.Duration) {
	w := &r.journal
	if !w.writing && w.again == 0 {
		return
	}
	if now-w.begun >= journalPatience {
		if w.writing {
			r.cfg.Log.Trouble(ctx, journalTrouble, "", fmt.Sprintf("the disk of the data folder %s does not answer: the journal is not written after %v, and without it nothing begins that has to be known after a crash: no renewal, no backup, no start of the application; look at the disk", r.cfg.Disk.Path(), journalPatience))
		}
		w.barrier.GiveUp(now - journalPatience)
	}
	if w.again != 0 && now >= w.again {
		r.save(w.barrier.Again())
	}
	r.obey(ctx)
}

// endJournal waits for the write under way, but not for ever: then the lock of the
// data folder stays with this process for as long as that lives, lest an older
// journal replaces one of the next process.
func (r *Runner) endJournal() {
	if !r.journal.writing {
		return
	}
	timer := time.NewTimer(journalEnd)
	defer timer.Stop()
	select {
	case err := <-r.journal.done:
		_ = err // a crash may leave an older journal just as well
	case <-timer.C:
		r.cfg.Disk.Hang()
	}
}

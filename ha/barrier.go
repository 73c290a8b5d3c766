package ha

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Barrier keeps effects in order while a journal is written, which may take for
// ever: what depends on the journal waits for it, and what does not goes on. An
// application is stopped whatever becomes of the journal: after a crash the
// machine would find the same reason again, or start it again. It does no I/O, and
// is not safe for concurrent use.
type Barrier struct {
	queue   []queued
	writing *Save // under way, or to be tried again
	ended   []Done
}

// queued is an effect that waits for the journals before it.
type queued struct {
	Effect
	since time.Duration
}

// ErrJournal is why an effect was given up that has waited too long for the
// journal.
var ErrJournal = errors.New("the journal cannot be written to the data folder")

// Add takes the effects of one step at now, on any clock that goes on, and returns
// those to be carried out at once. A Save comes last, and is answered by Saved.
func (b *Barrier) Add(now time.Duration, effects ...Effect) []Effect {
	var out []Effect
	for _, e := range effects {
		switch e := e.(type) {
		case Cancel:
			if !b.withdraw(func(q queued) bool { return effectID(q.Effect) == e.ID }, context.Canceled) {
				out = append(out, e)
			}
		case StopApp, Read, FindBackup, Report, Notify:
			out = append(out, e)
		case StopShipping:
			b.stopShipping()
			out = append(out, e)
		case Answer:
			if e.Refused != nil { // nothing has changed
				out = append(out, e)
				continue
			}
			b.add(e, now)
		default:
			b.add(e, now)
		}
	}
	return append(out, b.next()...)
}

// add queues an effect. Of two journals with nothing between them the later one
// says all.
func (b *Barrier) add(e Effect, now time.Duration) {
	if s, ok := e.(Save); ok && len(b.queue) > 0 {
		last := &b.queue[len(b.queue)-1]
		if before, ok := last.Effect.(Save); ok {
			last.Effect = before.then(s)
			return
		}
	}
	b.queue = append(b.queue, queued{e, now})
}

// next takes from the queue what may be carried out, up to the next journal.
func (b *Barrier) next() []Effect {
	var out []Effect
	for b.writing == nil && len(b.queue) > 0 {
		e := b.queue[0].Effect
		b.queue = b.queue[1:]
		out = append(out, e)
		if s, ok := e.(Save); ok {
			b.writing = &s
		}
	}
	return out
}

// Saved says that the journal under way is durable, and returns what may be
// carried out now.
func (b *Barrier) Saved() []Effect {
	b.writing = nil
	return b.next()
}

// Again returns the journal to be written after an attempt that has failed.
func (b *Barrier) Again() Save {
	for len(b.queue) > 0 { // nothing that waits for the failed one lies between
		s, ok := b.queue[0].Effect.(Save)
		if !ok {
			break
		}
		s = b.writing.then(s)
		b.writing, b.queue = &s, b.queue[1:]
	}
	return *b.writing
}

// GiveUp ends effects that have waited since before a moment: they have failed,
// and nothing of them was carried out.
func (b *Barrier) GiveUp(before time.Duration) {
	b.withdraw(func(q queued) bool { return q.since < before && effectID(q.Effect) != 0 }, ErrJournal)
}

// Ended returns, once, the answers to effects that were given up or cancelled
// while they waited.
func (b *Barrier) Ended() []Done {
	ended := b.ended
	b.ended = nil
	return ended
}

// stopShipping drops what would have something shipped or confirmed later.
func (b *Barrier) stopShipping() {
	b.queue = slices.DeleteFunc(b.queue, func(q queued) bool {
		switch q.Effect.(type) {
		case PrepareStream, Ship, ShipUntil:
			return true
		}
		return false
	})
	b.withdraw(func(q queued) bool { _, closes := q.Effect.(CloseStreams); return closes }, context.Canceled)
}

func (b *Barrier) withdraw(which func(queued) bool, why error) bool {
	n := len(b.queue)
	b.queue = slices.DeleteFunc(b.queue, func(q queued) bool {
		if !which(q) {
			return false
		}
		b.ended = append(b.ended, Done{ID: effectID(q.Effect), Outcome: Failed, Err: why})
		return true
	})
	return len(b.queue) < n
}

// effectID is the number by which an effect is answered; 0: it is not.
func effectID(e Effect) uint64 {
	switch e := e.(type) {
	case Read:
		return e.ID
	case Write:
		return e.ID
	case StartApp:
		return e.ID
	case StopApp:
		return e.ID
	case Checkpoint:
		return e.ID
	case MakeBackup:
		return e.ID
	case MakeSalvage:
		return e.ID
	case Pull:
		return e.ID
	case FindBackup:
		return e.ID
	case Rehearse:
		return e.ID
	case Rejoin:
		return e.ID
	case Unstage:
		return e.ID
	case Stage:
		return e.ID
	case Swap:
		return e.ID
	case Rollback:
		return e.ID
	case Discard:
		return e.ID
	case UseSources:
		return e.ID
	case Survey:
		return e.ID
	case CloseStreams:
		return e.ID
	case EndStreams:
		return e.ID
	case Save, Cancel, Notify, Answer, Report, PrepareStream, Ship, ShipUntil, StopShipping:
		return 0
	}
	panic(fmt.Sprintf("effect %T is not known", e))
}

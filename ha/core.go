package ha

import (
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/understudy-ha/understudy/backup"
)

// core is what the lanes of a machine have in common: its clock, its journal, and what it
// asks for. Every lane reads p, j, now and t, and writes its own part of j; the rest is
// reached by methods.
type core struct {
	p   Params
	j   Journal
	now Now
	t   instant // this instance's own time line

	started bool
	wake    instant
	out     []Effect
	changes int         // counts what the lanes have decided
	planned int         // what of it the last pass over the lanes has seen
	passed  JournalStep // since the journal was saved last
	saving  func()      // brings the journal up to date before it is saved
	id      uint64
	waiting map[uint64]func(Done)
}

// advance begins to handle an event, and reports whether it is the first one.
func (c *core) advance(now Now) bool {
	first := !c.started
	if !first {
		c.t += max(0, now.Mono-c.now.Mono, now.Boot-c.now.Boot)
	}
	c.started, c.now, c.out, c.planned = true, now, nil, -1
	return first
}

// changed has the lanes look again at what is due.
func (c *core) changed() { c.changes++ }

// undecided reports whether anything was decided since it was asked last: what one lane
// decides can set another lane going.
func (c *core) undecided() bool {
	if c.planned == c.changes {
		return false
	}
	c.planned, c.wake = c.changes, never
	return true
}

// untilWake is how long it is to the next moment that a lane waits for; false: none does.
func (c *core) untilWake() (time.Duration, bool) {
	if c.wake == never {
		return 0, false
	}
	return max(0, c.wake-c.t), true
}

// effects are what the lanes have asked for since the event.
func (c *core) effects() []Effect { return c.out }

// emit appends an effect.
func (c *core) emit(e Effect) {
	c.changes++
	c.out = append(c.out, e)
}

// passes says what has happened that the next version of the journal tells.
func (c *core) passes(step JournalStep) { c.passed = c.passed.and(step) }

// save makes the journal durable before whatever is emitted next, and says what for.
func (c *core) save(step JournalStep) {
	c.changes++
	c.saving()
	c.passes(step)
	s := Save{Journal: c.j.clone(), Step: c.passed}
	c.passed = ""
	if n := len(c.out); n > 0 {
		if before, ok := c.out[n-1].(Save); ok {
			c.out[n-1] = before.then(s)
			return
		}
	}
	c.emit(s)
}

// expect gives an effect an id and says what happens when it is done.
func (c *core) expect(then func(Done)) uint64 {
	c.id++
	c.waiting[c.id] = then
	return c.id
}

// answered returns, once, what happens when an effect is done.
func (c *core) answered(id uint64) (then func(Done), ok bool) {
	then, ok = c.waiting[id]
	delete(c.waiting, id)
	return then, ok
}

func (c *core) wakeAt(t instant) { c.wake = min(c.wake, max(t, c.t)) }

// due reports whether t has come, and sees to being woken when it has not.
func (c *core) due(t instant) bool {
	if c.t >= t {
		return true
	}
	c.wakeAt(t)
	return false
}

func (c *core) report(level Level, kind, format string, args ...any) {
	by := ""
	if p := c.j.Promotion; p != nil && kind == "promotion" {
		by = p.By
	}
	c.reportBy(by, level, kind, format, args...)
}

// reportBy is report for what happens on somebody's word.
func (c *core) reportBy(by string, level Level, kind, format string, args ...any) {
	c.emit(Report{Level: level, Kind: kind, By: by, Text: fmt.Sprintf(format, args...)})
}

func (c *core) answer(request string, ref *backup.Ref, err error) {
	if request != "" {
		c.emit(Answer{Request: request, Ref: ref, Refused: err})
	}
}

func (c *core) refuse(request, format string, args ...any) {
	c.answer(request, nil, &Refusal{Reason: fmt.Sprintf(format, args...)})
}

// random is 16 random bytes in hex. A source of randomness that fails leaves
// nothing safe to do.
func (c *core) random() string {
	var b [16]byte
	if _, err := io.ReadFull(c.p.Random, b[:]); err != nil {
		panic(fmt.Sprintf("read random bytes: %v", err))
	}
	return hex.EncodeToString(b[:])
}

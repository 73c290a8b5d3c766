package event

import (
	"slices"
	"time"
)

// Filter chooses events. The zero value chooses all.
type Filter struct {
	After  uint64    // only those with a greater ID
	Since  time.Time // only those of this time or later, by the instance's wall clock
	Kinds  []string  // only of these; none: of all
	Levels []Level   // only of these; none: of all
	Limit  int       // at most so many, the newest; 0: all
}

// Matches reports whether a filter chooses e, its limit aside.
func (f Filter) Matches(e Event) bool {
	return e.ID > f.After && !e.Time.Before(f.Since) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind)) &&
		(len(f.Levels) == 0 || slices.Contains(f.Levels, e.Level))
}

// choice collects the newest events that a filter chooses, in bounded memory.
type choice struct {
	filter Filter
	events []Event
}

func (c *choice) add(e Event) {
	if !c.filter.Matches(e) {
		return
	}
	c.events = append(c.events, e)
	if n := c.filter.Limit; n > 0 && len(c.events) >= 2*n {
		c.events = append(c.events[:0], newest(c.events, n)...)
	}
}

func (c *choice) chosen() []Event {
	if c.filter.Limit > 0 {
		return newest(c.events, c.filter.Limit)
	}
	return c.events
}

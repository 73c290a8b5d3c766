package source

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// A damaged database is told on the host where it is damaged, at a bounded cost: a
// database that was stored is held to SQLite's own check once an hour, for at most
// a few seconds in all that one dump stores. What that does not come to is checked
// by the rehearsals of standbys.
const (
	soundEvery  = time.Hour
	soundBudget = 5 * time.Second
)

// soundness remembers when the databases of one source were checked.
type soundness struct {
	budget time.Duration

	mu sync.Mutex
	at map[string]time.Time // by path
}

func newSoundness() *soundness {
	return &soundness{budget: soundBudget, at: map[string]time.Time{}}
}

// soundChecks are the checks of one dump.
type soundChecks struct {
	*soundness
	clock func() time.Time
	now   time.Time

	mu   sync.Mutex
	left time.Duration
}

func (s *soundness) begin(clock func() time.Time) *soundChecks {
	return &soundChecks{soundness: s, clock: clock, now: clock(), left: s.budget}
}

// damage returns what is wrong with a database that has just been stored: what a
// check finds, or else what the previous dump has said.
func (c *soundChecks) damage(ctx context.Context, at fsx.Place, got stored, before []string) []string {
	path := at.Path()
	if !c.due(path, len(before) > 0) {
		return before
	}
	c.mu.Lock() // one at a time, as the time counts for all
	defer c.mu.Unlock()
	if c.left <= 0 {
		return before
	}
	ctx, cancel := context.WithTimeout(ctx, c.left)
	defer cancel()
	begun := c.clock()
	found, ok := examineLive(ctx, at, got)
	c.left -= c.clock().Sub(begun)
	if !ok {
		return before
	}
	c.checked(path)
	return found.Damage
}

func (c *soundChecks) due(path string, damaged bool) bool {
	c.soundness.mu.Lock()
	defer c.soundness.mu.Unlock()
	at, ok := c.at[path]
	return damaged || !ok || c.now.Sub(at) >= soundEvery || c.now.Before(at)
}

func (c *soundChecks) checked(path string) {
	c.soundness.mu.Lock()
	defer c.soundness.mu.Unlock()
	c.at[path] = c.now
}

// examineLive checks a database in its place; ok says whether that came to its
// end. One in use that is not in WAL mode is left alone: its writers would wait.
func examineLive(ctx context.Context, at fsx.Place, got stored) (found Findings, ok bool) {
	switch {
	case got.look.quiet():
		f, err := at.Open()
		if err != nil {
			return found, false
		}
		defer openedHere.close(got.look.id(), f)
		if found, err = examineFile(ctx, f); err != nil {
			return found, false
		}
		after, err := lookAt(at)
		return found, err == nil && after.print == got.look.print
	case got.facts.JournalMode != "wal" || !got.look.held:
		return found, false
	}
	snap, err := openSnapshot(ctx, at)
	if err != nil {
		return found, false
	}
	found, err = examineDatabase(ctx, snap.conn)
	return found, snap.Close() == nil && err == nil
}

// ofPart are the texts of one part of a source.
func ofPart(texts []string, part string) (of []string) {
	for _, text := range texts {
		if rest, ok := strings.CutPrefix(text, part+": "); ok {
			of = append(of, rest)
		}
	}
	return of
}

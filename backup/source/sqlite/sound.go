package sqlite

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/opened"
	"github.com/understudy-ha/understudy/backup/source/internal/sqlitefile"
)

// A damaged database is told on the host where it is damaged, at a bounded cost: a
// database that was stored is held to SQLite's own check once an hour, for at most
// a few seconds in all that one dump stores. What that does not come to is checked
// by the rehearsals of standbys.
const (
	soundEvery  = time.Hour
	soundBudget = 5 * time.Second
)

// Soundness remembers when the databases of one source were checked.
type Soundness struct {
	budget time.Duration

	mu sync.Mutex
	at map[string]time.Time // by path
}

// NewSoundness has checked nothing yet.
func NewSoundness() *Soundness {
	return &Soundness{budget: soundBudget, at: map[string]time.Time{}}
}

// SoundChecks are the checks of one dump.
type SoundChecks struct {
	*Soundness
	clock func() time.Time
	now   time.Time

	mu   sync.Mutex
	left time.Duration
}

// Begin starts a dump.
func (s *Soundness) Begin(clock func() time.Time) *SoundChecks {
	return &SoundChecks{Soundness: s, clock: clock, now: clock(), left: s.budget}
}

// Damage returns what is wrong with a database that has just been stored: what a
// check finds, or else what the previous dump has said.
func (c *SoundChecks) Damage(ctx context.Context, at fsx.Place, got Stored, before []string) []string {
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

func (c *SoundChecks) due(path string, damaged bool) bool {
	c.Soundness.mu.Lock()
	defer c.Soundness.mu.Unlock()
	at, ok := c.at[path]
	return damaged || !ok || c.now.Sub(at) >= soundEvery || c.now.Before(at)
}

func (c *SoundChecks) checked(path string) {
	c.Soundness.mu.Lock()
	defer c.Soundness.mu.Unlock()
	c.at[path] = c.now
}

// examineLive checks a database in its place; ok says whether that came to its
// end. One in use that is not in WAL mode is left alone: its writers would wait.
func examineLive(ctx context.Context, at fsx.Place, got Stored) (found source.Findings, ok bool) {
	switch {
	case got.Look.Quiet():
		f, err := at.Open()
		if err != nil {
			return found, false
		}
		defer opened.Here.Close(got.Look.ID(), f)
		if found, err = sqlitefile.Examine(ctx, f); err != nil {
			return found, false
		}
		after, err := LookAt(at)
		return found, err == nil && after.Print == got.Look.Print
	case got.Facts.JournalMode != "wal" || !got.Look.Held:
		return found, false
	}
	snap, err := openSnapshot(ctx, at)
	if err != nil {
		return found, false
	}
	found, err = sqlitefile.ExamineDatabase(ctx, snap.conn)
	return found, snap.Close() == nil && err == nil
}

// OfPart are the texts of one part of a source.
func OfPart(texts []string, part string) (of []string) {
	for _, text := range texts {
		if rest, ok := strings.CutPrefix(text, part+": "); ok {
			of = append(of, rest)
		}
	}
	return of
}

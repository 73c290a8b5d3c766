package work

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
)

// packed is an active, whose sources say how much of their logs is in no backup.
type packed struct {
	*Packing
	core     ha.Status
	now      ha.Now
	unpacked map[string]int64
	asked    []string // why
}

func (p *packed) Now() ha.Now  { return p.now }
func (p *packed) Boot() string { return "" }

// newPacked is an active that has made a backup just now, and has not been paused.
func newPacked() *packed {
	p := &packed{now: ha.Now{Mono: time.Hour, Boot: time.Hour, Wall: time.Unix(1e9, 0)}, unpacked: map[string]int64{}}
	p.core = ha.Status{Role: ha.RoleActive, Leading: true, Head: new(ha.Head)}
	p.backup("first")
	p.Packing = NewPacking(func() ha.Status { return p.core }, p, func() map[string]int64 { return p.unpacked }, func(ev ha.Event) {
		p.asked = append(p.asked, ev.(ha.RequestBackup).Reason)
	})
	return p
}

func (p *packed) backup(id string) { p.core.Head.Newest = &backup.Ref{ID: id, Time: p.now.Wall} }

// pass lets time pass, with a look at each turn, and returns how often a backup was asked for.
func (p *packed) pass(t *testing.T, d time.Duration) int {
	t.Helper()
	before := len(p.asked)
	for end := p.now.Mono + d; p.now.Mono < end; {
		next := p.Turn(t.Context())
		if next <= 0 {
			t.Fatalf("the next look is in %v", next)
		}
		p.now.Mono, p.now.Boot, p.now.Wall = p.now.Mono+next, p.now.Boot+next, p.now.Wall.Add(next)
	}
	return len(p.asked) - before
}

// TestLogIsPacked at 64 MiB, though no sooner than five minutes after the backup before, and
// after an hour. Nothing of it asks for the schedule.
func TestLogIsPacked(t *testing.T) {
	t.Parallel()
	p := newPacked()
	p.unpacked["db"], p.unpacked["other"] = 64<<20, -1
	if n := p.pass(t, packApart); n != 0 {
		t.Errorf("%d backups are asked for just after one: %q", n, p.asked)
	}
	if n := p.pass(t, time.Minute); n != 1 || p.asked[0] != "64 MiB of log of db are in no backup" {
		t.Errorf("%d backups are asked for: %q", n, p.asked)
	}
	if n := p.pass(t, 3*packApart); n != 3 {
		t.Errorf("it fails, and is asked for %d times: %q", n, p.asked)
	}
	p.core.Work = "backup"
	if n := p.pass(t, time.Hour); n != 0 {
		t.Errorf("one is under way, and %d others are asked for", n)
	}
	p.core.Work = ""
	p.backup("second")
	p.unpacked["db"] = 64<<20 - 1
	if n := p.pass(t, 59*time.Minute); n != 0 {
		t.Errorf("a little log is asked for %d times within an hour", n)
	}
	if n := p.pass(t, 2*time.Minute); n != 1 {
		t.Errorf("after an hour it is asked for %d times", n)
	}
	p.backup("third")
	p.unpacked["db"] = 0
	if n := p.pass(t, 24*time.Hour); n != 0 {
		t.Errorf("nothing is written, and %d backups are asked for", n)
	}
}

// TestLogIsPackedAfterARestart: the process before made the backup. A clock that was set back
// costs an hour at most.
func TestLogIsPackedAfterARestart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		made time.Duration // before this process began, by the wall clock
		want int
	}{"an hour ago": {time.Hour, 1}, "now": {0, 0}, "tomorrow": {-24 * time.Hour, 0}} {
		p := newPacked()
		p.unpacked["db"] = 1
		p.core.Head.Newest.Time = p.now.Wall.Add(-c.made)
		if n := p.pass(t, time.Minute); n != c.want {
			t.Errorf("%s: %d backups are asked for at once", name, n)
		}
		if n := p.pass(t, time.Hour+time.Minute); n == 0 {
			t.Errorf("%s: none is asked for within an hour", name)
		}
	}
}

// TestOnlyTheActivePacks: and none that hands over.
func TestOnlyTheActivePacks(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*ha.Status){
		"a standby":                func(s *ha.Status) { s.Role = ha.RoleStandby },
		"one that does not lead":   func(s *ha.Status) { s.Leading = false },
		"one that is refused":      func(s *ha.Status) { s.Refused = "a copy" },
		"one that hands over":      func(s *ha.Status) { s.Handover = new(ha.HandoverJournal) },
		"one that knows no head":   func(s *ha.Status) { s.Head = nil },
		"one without a backup yet": func(s *ha.Status) { s.Head.Newest = nil },
	} {
		p := newPacked()
		p.unpacked["db"] = 1 << 40
		change(&p.core)
		if n := p.pass(t, 2*time.Hour); n != 0 {
			t.Errorf("%s asks for %d backups: %s", name, n, strings.Join(p.asked, ", "))
		}
	}
}

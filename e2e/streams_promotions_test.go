package e2e

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

var (
	streamKills      = flag.Int("streams.kills", 2, "how often the active, its server and its disk are lost while rows are written")
	streamPromotions = flag.Int("streams.promotions", 4, "how often a server is promoted back and forth")
)

// TestKillsOfAServerLoseSeconds: again and again the active's agent and its server are killed
// while rows are written, and its disk is lost. The host comes back with an empty one.
func TestKillsOfAServerLoseSeconds(t *testing.T) {
	t.Parallel()
	p := newServers(t, serverSetup{}, "host-a", "host-b")
	lost, ages := p.areKilled(*streamKills, func(*host) {})
	if oldest := slices.Max(ages); oldest > 5*time.Second {
		t.Errorf("rows of the last %v are lost", oldest)
	}
	slices.Sort(ages)
	t.Logf("%d kills: rows lost %v; the first of them was acknowledged before the kill by %v", *streamKills, lost, ages)
}

// areKilled kills the active and promotes its standby, so often. Before rows are written
// it calls ready with the active. It returns how many rows were lost that had been
// acknowledged, and how long before the kill the first of them was.
func (p *serverPair) areKilled(times int, ready func(active *host)) (lost []int, ages []time.Duration) {
	t := p.t
	t.Helper()
	var d diary
	timeline := lines{}
	active, standby := p.a, p.b
	for range times {
		ready(active)
		end := d.write(t, p.on[active].DSN("postgres"))
		d.grows(t, 50)
		standby.follows()
		d.grows(t, 100)
		at := p.crashes(active)
		end()
		if err := os.RemoveAll(p.on[active].Data()); err != nil {
			t.Fatal(err)
		}
		standby.promotes("--failover", "--host-is-off")
		n, age := d.goesOn(t, p.on[standby].DSN("postgres"), at)
		lost, ages = append(lost, n), append(ages, age)
		timeline.are(t, p.on[standby].DSN("postgres"))
		active.serve()
		active.settles()
		active, standby = standby, active
	}
	return lost, ages
}

// lines are the timelines that servers were on.
type lines map[string]bool

// are notes the timeline of a server that was promoted: none was on it before.
func (l lines) are(t *testing.T, dsn string) {
	t.Helper()
	line := timeline(t, dsn)
	if l[line] {
		t.Errorf("timeline %v once more", line)
	}
	l[line] = true
}

// TestServersArePromotedBackAndForth, switchovers and failovers, with one writer: the rows
// are those that were acknowledged and that no failover has lost, one for one. An old
// active keeps what its successor does not have, and follows; so does a third host.
func TestServersArePromotedBackAndForth(t *testing.T) {
	t.Parallel()
	p := newServers(t, serverSetup{}, "host-a", "host-b", "host-c")
	third := p.hosts[2]
	var (
		d        diary
		timeline = lines{}
	)
	active, standby := p.a, p.b
	for turn := range *streamPromotions {
		end := d.write(t, p.on[active].DSN("postgres"))
		d.grows(t, 50)
		standby.follows()
		third.follows()
		at, failover := time.Now(), turn%2 == 1
		if failover {
			at = p.crashes(active)
			standby.promotes("--failover", "--host-is-off")
		} else {
			standby.promotes()
		}
		end()
		dsn := p.on[standby].DSN("postgres")
		lost, age := d.goesOn(t, dsn, at)
		timeline.are(t, dsn)
		t.Logf("promotion %d: failover %v, %d rows lost, of %v; %d rows", turn, failover, lost, age, d.rows())
		switch {
		case !failover && lost > 0:
			t.Fatalf("promotion %d has lost %d rows", turn, lost)
		case failover:
			p.comesBack(active, standby, turn%4 == 3, lost > 0)
		}
		if failover {
			active.settles()
		} else {
			p.rejoins(active, at)
		}
		active, standby = standby, active
	}
	end := d.write(t, p.on[active].DSN("postgres"))
	d.grows(t, 50)
	third.follows()
	third.promotes()
	end()
	if lost, _ := d.goesOn(t, p.on[third].DSN("postgres"), time.Now()); lost > 0 {
		t.Errorf("the third host lacks %d rows", lost)
	}
	timeline.are(t, p.on[third].DSN("postgres"))
	standby.settles()
	active.settles()
}

// rejoins waits until an active that was replaced at some time is a standby again. Its replica
// is a copy of its own data folder.
func (p *serverPair) rejoins(h *host, at time.Time) {
	p.t.Helper()
	h.settles()
	if all := query[[]event.Event](h, "events", "--limit", "40"); !slices.ContainsFunc(all, func(e event.Event) bool {
		return e.Time.After(at) && strings.Contains(e.Text, "what lies here goes on by the log of the new active")
	}) {
		p.t.Errorf("%s does not follow as it is: %+v", h.name, all)
	}
}

// comesBack starts the agent of an active that was replaced, after its server if that
// starts with its host. It keeps what the new active lacks, and serves nobody.
func (p *serverPair) comesBack(old, active *host, starts, lost bool) {
	p.t.Helper()
	before := salvages(active)
	if starts {
		p.on[old].Start(p.t)
		execute(p.t, p.on[old].DSN("postgres"), "INSERT INTO diary SELECT max(row) + 1, 'of nobody' FROM diary")
	}
	old.serve()
	old.settles()
	if p.on[old].Runs() {
		p.t.Errorf("%s: the server of an active that was replaced runs", old.name)
	}
	if after := salvages(active); (lost || starts) && after != before+1 {
		p.t.Errorf("%s had rows that %s lacks, and %d salvage backups were made", old.name, active.name, after-before)
	}
}

// salvages counts the salvage backups.
func salvages(h *host) (n int) {
	h.t.Helper()
	for _, b := range query[[]control.BackupInfo](h, "backups") {
		if b.Salvage {
			n++
		}
	}
	return n
}

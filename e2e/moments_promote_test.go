package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
)

// TestAServerIsPromotedToAMoment: its rows are those up to the moment, and no others. The old
// active, which stands still meanwhile, ships nothing more, and keeps what it has; a third
// host follows the new active, and takes over from it. A moment of the first epoch can be
// gone back to from there, and one that no log has cannot.
func TestAServerIsPromotedToAMoment(t *testing.T) {
	t.Parallel()
	p := newServers(t, serverSetup{fill: recordsTimes(t)}, "host-a", "host-b", "host-c")
	third, dsn := p.hosts[2], p.on[p.a].DSN("postgres")
	var d diary
	timelines := lines{}
	timelines.are(t, dsn)
	end := d.write(t, dsn)
	defer func() { end() }()
	d.grows(t, 50)
	p.a.run("backup")
	d.grows(t, 200)
	row, earlier := d.rows()-50, d.rows()-120
	stream := p.a.ships().Stream
	p.b.follows()
	moment, before := p.committed(row), p.committed(earlier)
	written := func(at time.Time) string { return at.Format(time.RFC3339Nano) }

	for _, none := range []string{written(time.Now().Add(time.Hour)), "2020-01-01T00:00:00Z"} {
		p.b.fails(3, "source db cannot be brought to", "promote", "--failover", "--yes", "--time", none)
	}
	p.b.fails(2, "leave ID out", "promote", "--failover", "--yes", "--time", written(moment), "latest")
	look := query[promotions.Preflight](p.b, "promote", "--failover", "--dry-run", "--time", written(moment))
	if s := look.Loss.Sources; !look.OK || look.Moment == nil || !look.Moment.Equal(moment) || len(s) != 1 || !s[0].Moment || !s[0].Time.Equal(moment) {
		t.Fatalf("preflight: %+v", look)
	}

	p.suspend(p.a.agent.Process)
	said := p.b.promotes("--failover", "--host-is-off", "--time", written(moment))
	if said.Moment == nil || !said.Moment.Equal(moment) {
		t.Errorf("the promotion says %+v", said)
	}
	next := p.on[p.b].DSN("postgres")
	if rows := diaryOf(t, next); !slices.Equal(rows, d.first(row)) {
		t.Errorf("there are %d rows, and not the first %d", len(rows), row)
	}
	timelines.are(t, next)
	p.wakesToAnEnd(&d, stream)
	if n := salvages(p.b); n != 1 {
		t.Errorf("%d salvage backups of what the moment leaves out", n)
	}
	end()

	first := d.first(row)
	d.goesOn(t, next, time.Now())
	end = d.write(t, next)
	d.grows(t, 50)
	third.follows()
	third.settles()
	third.promotes()
	end()
	last := p.on[third].DSN("postgres")
	if lost, _ := d.goesOn(t, last, time.Now()); lost > 0 {
		t.Errorf("the third host lacks %d rows", lost)
	}
	timelines.are(t, last)

	p.a.settles()
	p.a.promotes("--time", written(before))
	if rows := diaryOf(t, dsn); !slices.Equal(rows, first[:earlier]) {
		t.Errorf("a moment of the first epoch has %d rows, and not the first %d", len(rows), earlier)
	}
	timelines.are(t, dsn)
	for _, at := range []time.Time{moment, before} {
		if text := p.a.run("events", "--cluster"); !strings.Contains(text, "and the log up to "+ha.MomentText(at)) {
			t.Errorf("the cluster's events do not say %s:\n%s", ha.MomentText(at), text)
		}
	}
}

// first are the first rows.
func (d *diary) first(n int) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.sent[:n])
}

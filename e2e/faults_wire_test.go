package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/e2e/server"
)

// TestNothingIsLostOnABadLine has lines between the hosts and the bucket on
// which a backup arrives in spite of everything.
func TestNothingIsLostOnABadLine(t *testing.T) {
	t.Parallel()
	o := newOrdeal(t, nil)
	o.setUp()
	o.resets()
	o.narrowLines()
}

// TestNothingIsLostOnADeadLine has lines on which nothing arrives, or nothing
// that is whole.
func TestNothingIsLostOnADeadLine(t *testing.T) {
	t.Parallel()
	o := newOrdeal(t, nil)
	o.setUp()
	o.holes()
	o.silence()
}

// bothWays is the same trouble in both directions.
func bothWays(kind string, with map[string]any) []server.Trouble {
	return []server.Trouble{{Type: kind, Up: true, With: with}, {Type: kind, With: with}}
}

// resets breaks connections in the middle of what they carry: of uploads first all, until
// that was noticed, then many; of downloads all. None of it keeps a backup from arriving.
func (o *ordeal) resets() {
	o.begin("connections are reset in mid-upload and in mid-download")
	disturb := func(h *host, up bool, share float32) {
		o.wires[h].Disturb(o.t,
			server.Trouble{Type: "limit_data", Up: up, Toxicity: share, With: map[string]any{"bytes": 300_000}},
			server.Trouble{Type: "reset_peer", Up: up, Toxicity: share / 4, With: map[string]any{"timeout": 200}},
		)
	}
	disturb(o.active, true, 1)
	disturb(o.standby, false, 1)
	o.grow(3 << 20)
	made := o.active.background("backup", "--json")
	o.says(o.active, "the bucket failed, and is tried again", "packs/")
	disturb(o.active, true, 0.5)
	if r := o.await(made); r.code != 0 {
		o.t.Fatalf("a backup with many resets: exit %d\n%s", r.code, r.errout)
	}
	// A download goes on where its connection broke, though every one of them breaks.
	o.standby.caches(o.active.status().LastBackup.ID)
	o.healed()
}

// narrowLines have room for 100 kB/s: a backup takes its time, and a heartbeat
// does not wait for it.
func (o *ordeal) narrowLines() {
	o.active.run("config", "set", "fencing", "strict")
	o.begin("all lines are narrow")
	o.both(func(h *host) { o.wires[h].Disturb(o.t, bothWays("narrow", map[string]any{"rate": 100_000})...) })
	o.grow(3 << 19)
	starts, began := o.active.app.starts(o.t), time.Now()
	ref := query[backup.Ref](o.active, "backup")
	made := time.Since(began)
	o.standby.caches(ref.ID)
	o.t.Logf("1.5 MB through lines of 100 kB/s: in the bucket after %v, in the cache after %v", made.Round(time.Second), time.Since(began).Round(time.Second))
	if s := o.active.status(); !s.Leading || s.App != "running" || o.active.app.starts(o.t) != starts {
		o.t.Errorf("with strict fencing the active did not hold its role: leading %v, application %q", s.Leading, s.App)
	}
	if stopped := o.lines(o.active, "the application is stopped"); len(stopped) > 0 {
		o.t.Errorf("the application was stopped: %s", stopped[0])
	}
	if s := o.standby.status(); !s.HeadAlive {
		o.t.Errorf("to the standby the active seems silent since %.0f s", s.HeadAge)
	}
	o.healed()
	o.active.run("config", "set", "fencing", "available")
}

// holes loses one piece in twenty, and nobody sends it again.
func (o *ordeal) holes() {
	o.begin("one packet in twenty is lost for good")
	o.both(func(h *host) { o.wires[h].Disturb(o.t, bothWays("drop", map[string]any{"percent": 5.0})...) })
	o.grow(1 << 20)
	made := o.active.background("backup")
	o.both(func(h *host) { o.says(h, "level=ERROR", "the bucket cannot be used") })
	o.moreWrites(20)
	o.wiresHealed()
	o.await(made) // it may have failed, or not
	o.sound()
}

// silence is half a minute without a word on any line.
func (o *ordeal) silence() {
	const long = 30 * time.Second
	o.begin(fmt.Sprintf("%v of silence", long))
	o.grow(1 << 20)
	o.both(func(h *host) { o.wires[h].Disturb(o.t, bothWays("timeout", map[string]any{"timeout": 0})...) })
	began, starts := time.Now(), o.active.app.starts(o.t)
	made := o.active.background("backup")
	o.both(func(h *host) { o.says(h, "level=ERROR", "the bucket cannot be used") })
	eventually(o.t, "the silence is over", func() error {
		if left := long - time.Since(began); left > 0 {
			return fmt.Errorf("in %v", left)
		}
		return nil
	})
	o.moreWrites(20) // with the fencing mode available the application goes on
	o.both(func(h *host) {
		if s := h.status(); s.BucketFailing == 0 || s.Healthy {
			o.t.Errorf("%s counts as healthy after %v of silence", h.name, long)
		}
		if n := len(o.lines(h, "level=ERROR", "kind=bucket")); n != 1 {
			o.t.Errorf("%s has %d lines about one silence", h.name, n)
		}
	})
	if o.active.app.starts(o.t) != starts {
		o.t.Error("the application was started again")
	}
	o.wiresHealed()
	o.await(made) // it may have failed, or not
	o.both(func(h *host) { o.says(h, "the bucket can be used again after") })
	o.sound()
}

func (o *ordeal) wiresHealed() { o.both(func(h *host) { o.wires[h].Heal(o.t) }) }

func (o *ordeal) healed() {
	o.t.Helper()
	o.wiresHealed()
	o.sound()
}

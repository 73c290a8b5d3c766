package agent

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

const day = 24 * time.Hour

// aheadClock is a store's clock that a test moves; the hosts' own stay.
type aheadClock struct{ ahead atomic.Int64 }

func (k *aheadClock) jump(d time.Duration) { k.ahead.Add(int64(d)) }

// movable gives the cluster's store such a clock. The hosts see what time it is
// there with their next write.
func (c *cluster) movable() *aheadClock {
	k := new(aheadClock)
	c.memory.Now = func() time.Time { return time.Now().Add(time.Duration(k.ahead.Load())) }
	return k
}

// startWith runs the host's agent with a changed configuration.
func (h *host) startWith(change func(*Config)) {
	h.t.Helper()
	cfg := h.config()
	change(&cfg)
	a, err := Open(h.t.Context(), cfg)
	if err != nil {
		h.t.Fatalf("open %s: %v", h.name, err)
	}
	h.run(a)
}

// events gives the texts of an instance's events about what expires.
func (h *host) events(level event.Level) (texts []string) {
	for _, e := range h.agent.Events().Recent(0, 0) {
		if e.Kind == upkeep.RetentionKind && e.Level == level {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

// keys gives the keys in the bucket that have a prefix.
func (c *cluster) keys(prefix string) []string {
	return slices.DeleteFunc(c.memory.Keys(), func(key string) bool { return !strings.HasPrefix(key, prefix) })
}

func (c *cluster) put(key string) {
	c.t.Helper()
	if _, err := c.memory.Put(c.t.Context(), key, []byte("{}"), blobstore.Always); err != nil {
		c.t.Fatal(err)
	}
}

// paused makes a leading active whose schedule is paused after n backups, each
// of another state.
func (c *cluster) paused(n int, change func(*Config)) (a *host, newest string) {
	c.t.Helper()
	a = c.host("a")
	a.init()
	a.startWith(change)
	a.untilLeading()
	if err := a.agent.requests.Pause(event.WithActor(c.t.Context(), "test"), requests.PauseRequest{}); err != nil {
		c.t.Fatal(err)
	}
	for i := range n {
		a.write("state", strings.Repeat(string(rune('a'+i)), 1000))
		newest = a.backup()
	}
	return a, newest
}

// restorable checks every byte of the newest backup in the bucket.
func (c *cluster) restorable(newest string) {
	c.t.Helper()
	b, _, err := control.Open(c.t.Context(), control.Config{Store: c.memory, Ring: c.ring})
	if err != nil {
		c.t.Fatal(err)
	}
	info, m, err := b.Chain().Find(c.t.Context(), "")
	if err != nil || info.ID != newest {
		c.t.Fatalf("the newest backup is %s, want %s: %v", info.ID, newest, err)
	}
	_, index, err := b.Repository().Open(c.t.Context(), m, b.Repository().BucketPacks())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, p := range index.Packs() {
		if _, err := c.memory.Stat(c.t.Context(), p.Digest.Key()); err != nil {
			c.t.Errorf("the newest backup has lost a pack: %v", err)
		}
	}
}

func plain(*Config) {}

// Where the bucket has no rules the active deletes what has expired, by the
// store's time, and spares the newest backup and all control objects.
func TestTheActiveDeletesWhatNoRuleDoes(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		clock := c.movable()
		a, newest := c.paused(4, plain)
		c.put("probe/left-behind")
		c.put("salvage/2000-01-01/old.json")
		c.put("streams/db/1-1/000000000001")
		c.pass(2 * time.Hour)
		if n := len(c.keys("backups/")); n < 4 || a.agent.Status().Retention.Deleted != 0 {
			t.Fatalf("%d manifests are left of what is young", n)
		}
		before := c.keys("")
		clock.jump(40 * day)
		c.put("probe/young")
		c.put("streams/db/1-1/000000000002")
		c.pass(2 * time.Hour)
		if got := c.keys("backups/"); len(got) != 1 || !strings.Contains(got[0], newest) {
			t.Errorf("manifests left: %v, want %s alone", got, newest)
		}
		if got := slices.Concat(c.keys("salvage/"), c.keys("probe/"), c.keys("streams/")); !slices.Equal(got, []string{"probe/young", "streams/db/1-1/000000000002"}) {
			t.Errorf("left: %v", got)
		}
		for _, key := range before {
			if folder, _, _ := strings.Cut(key, "/"); slices.Contains([]string{"backups", "packs", "salvage", "streams", "probe"}, folder) {
				continue
			}
			if !slices.Contains(c.keys(""), key) {
				t.Errorf("control object %s is gone", key)
			}
		}
		c.restorable(newest)
		s := a.agent.Status().Retention
		if s.AppliedBy != upkeep.AppliedByAgent || s.Deleted == 0 || s.LastSweep == nil || int(s.Deleted) != len(before)+2-len(c.keys("")) {
			t.Errorf("status %+v", s)
		}
		listed, err := a.agent.catalogue.Backups(t.Context(), 0)
		if err != nil || len(listed) != 1 || listed[0].ID != newest {
			t.Errorf("listed %v: %v; the newest backup is shown however old it is", listed, err)
		}
		alarms := a.events(event.Alarm)
		if len(alarms) != 1 || !strings.Contains(alarms[0], "schedule is paused") {
			t.Errorf("alarms %q, want one about the schedule", alarms)
		}
	})
}

// What the bucket's own rules delete is left to them.
func TestRulesOfTheBucketAreLeftToTheBucket(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		clock := c.movable()
		if err := c.memory.SetRules(t.Context(), retention.Policy{}.Rules()); err != nil {
			t.Fatal(err)
		}
		a, newest := c.paused(3, func(cfg *Config) { cfg.Lifecycle = c.memory })
		clock.jump(16 * day) // past the retention, but not the packs'
		c.pass(2 * time.Hour)
		s := a.agent.Status()
		if r := s.Retention; r.AppliedBy != upkeep.AppliedByBucket || r.Deleted != 0 || r.RulesRead == nil || len(r.Problems) != 0 {
			t.Errorf("status %+v", r)
		}
		if !slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "no standby has it") }) {
			t.Errorf("problems %q: nothing keeps the newest backup %s", s.Problems, newest)
		}

		c.memory.AddRule(blobstore.Rule{Name: "tidy", Days: 10})
		c.pass(2 * time.Hour)
		if e := a.agent.Status().Retention.Effective; e.Retention != ha.Duration(8*day) || e.ReuseWindow != ha.Duration(day) {
			t.Errorf("effective %+v under a rule of 10 days", e)
		}
		told := 0
		for _, text := range a.events(event.Alarm) {
			if strings.Contains(text, `"tidy"`) && strings.Contains(text, "cluster.json") && strings.Contains(text, "8 days instead of 14 days") {
				told++
			}
		}
		if told != 1 {
			t.Errorf("the rule was told of %d times: %q", told, a.events(event.Alarm))
		}
		o, err := a.agent.maker.Order(t.Context(), "")
		if err != nil || o.Retention != 8*day || o.ReuseWindow != day {
			t.Errorf("a backup is made by %v and %v: %v", o.Retention, o.ReuseWindow, err)
		}
	})
}

// A denied delete is told of once, and holds nothing up.
func TestADeniedDeleteIsOneWarning(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		clock := c.movable()
		a, _ := c.paused(3, plain)
		a.store.Inject(storetest.Fault{Op: storetest.Delete, Key: "backups/**", Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrDenied)})
		clock.jump(30 * day)
		c.pass(5 * time.Hour)
		if warned := a.events(event.Warn); len(warned) != 1 || !strings.Contains(warned[0], "denied") {
			t.Errorf("warnings %q, want one", warned)
		}
		a.store.Calls()
		c.pass(2 * time.Hour)
		if n := a.store.Count(storetest.Delete); n > 3 {
			t.Errorf("%d deletes were tried in two hours", n)
		}
		a.write("state", "new")
		a.backup()
		a.store.Heal()
		a.until("it is deleted after all", func(s report.Status) bool { return s.Retention.Deleted > 0 })
	})
}

// Once another instance is the active, the old one deletes nothing more, even
// in the middle of a sweep.
func TestADeposedActiveDoesNotDelete(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		clock := c.movable()
		a, _ := c.paused(2, plain)
		for i := range 200 {
			c.put("packs/00/" + strings.Repeat("0", 3) + string(rune('a'+i/26)) + string(rune('a'+i%26)))
		}
		deletes := 0
		a.store.Inject(storetest.Fault{Op: storetest.Delete, Times: storetest.Forever, Do: func(ctx context.Context, _ storetest.Call, do func(context.Context) error) error {
			if deletes++; deletes == 5 {
				c.takeHead(a)
			}
			return do(ctx)
		}})
		clock.jump(60 * day)
		c.pass(3 * time.Hour)
		if deletes < 5 || deletes > upkeep.Recheck {
			t.Errorf("%d deletes, the head having changed after 5 of them", deletes)
		}
		if err := upkeep.NewSweeper(upkeepHost(a.agent), a.agent.rules).Sweep(t.Context()); err == nil {
			t.Error("a deposed active swept")
		}
	})
}

// takeHead makes somebody else the active.
func (c *cluster) takeHead(old *host) {
	b := control.New(control.Config{Store: c.memory, Ring: c.ring, Timeout: time.Second, Clock: bubbleClock{}}, old.agent.control.Cluster())
	h, err := b.Head(c.t.Context())
	if err != nil {
		c.t.Error(err)
		return
	}
	h.Epoch, h.Rev, h.Nonce, h.Active = h.Epoch+1, h.Rev+1, "another", ha.Peer{Name: "z", Incarnation: "z"}
	if _, err := b.Write(c.t.Context(), ha.KindHead, ha.HeadKey, h, blobstore.Always); err != nil {
		c.t.Error(err)
	}
}

// Packs stay as long as backups need them that were made under a longer reuse
// window, also when a window comes back that was configured before.
func TestAShorterWindowWaitsForOlderBackups(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		clock := c.movable()
		a, _ := c.paused(1, plain)
		set := func(window string) {
			t.Helper()
			if err := a.agent.shared.SetConfig(t.Context(), map[string]string{"reuse_window": window}); err != nil {
				t.Fatal(err)
			}
			c.pass(time.Minute)
		}
		check := func(when string, packs time.Duration, waits bool) {
			t.Helper()
			p, err := a.agent.control.Promise(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if p.Rules.PackLife() != packs || p.Until.IsZero() == waits {
				t.Errorf("%s: packs are kept for %v until %v, want %v", when, p.Rules.PackLife(), p.Until, packs)
			}
		}
		check("at first", 22*day, false)
		set("2d")
		check("W shrank", 22*day, true)
		clock.jump(16 * day)
		c.pass(time.Minute)
		check("R days later", 17*day, false)
		set("7d")
		check("W grew", 22*day, false)
		clock.jump(3 * day)
		c.pass(time.Minute)
		set("2d") // the very configuration that was in force before
		check("W shrank again", 22*day, true)
		clock.jump(14 * day)
		c.pass(time.Minute)
		check("14 days later", 22*day, true)
		clock.jump(2 * day)
		c.pass(time.Minute)
		check("16 days later", 17*day, false)
	})
}

// A store that does not know what rules are is one without rules: the active
// deletes, and nobody is told that something could not be read.
func TestAStoreWithoutRulesIsNoTrouble(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.memory.NoRules = true
		a, _ := c.paused(1, func(cfg *Config) { cfg.Lifecycle = c.memory })
		c.pass(2 * time.Hour)
		s := a.agent.Status().Retention
		if s.Error != "" || len(s.Problems) > 0 || s.AppliedBy != upkeep.AppliedByAgent || s.RulesRead == nil || s.LastSweep == nil {
			t.Errorf("%+v", s)
		}
		for _, e := range a.agent.Events().Recent(0, 1000) {
			if e.Kind == upkeep.RetentionKind {
				t.Errorf("told of %q", e.Text)
			}
		}
	})
}

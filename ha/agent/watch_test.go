package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
	"github.com/understudy-ha/understudy/ha/upkeep"
)

// firstLook is when an agent has looked at what lies in the folders.
const firstLook = upkeep.PacksSpread + 2*upkeep.ControlEvery

// alarmed reports whether an alarm says all of this.
func (h *host) alarmed(texts ...string) bool {
	return slices.ContainsFunc(h.agent.Events().Recent(0, 1000), func(e event.Event) bool {
		return e.Level == event.Alarm && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(e.Text, text) })
	})
}

// listed finds a backup in the list that an agent gives.
func (h *host) listed(id string) control.BackupInfo {
	h.t.Helper()
	all, err := h.agent.catalogue.Backups(h.t.Context(), 0)
	i := slices.IndexFunc(all, func(b control.BackupInfo) bool { return b.ID == id })
	if err != nil || i < 0 {
		h.t.Fatalf("%s does not list backup %s: %v", h.name, id, err)
	}
	return all[i]
}

// rests makes no backup by itself any more.
func (h *host) rests() {
	h.t.Helper()
	if err := h.agent.requests.Pause(event.WithActor(h.t.Context(), "test"), requests.PauseRequest{}); err != nil {
		h.t.Fatal(err)
	}
}

// many makes so many backups, and returns them, oldest first.
func (h *host) many(n int) (ids []string) {
	for i := range n {
		h.write("state", fmt.Sprint(i))
		ids = append(ids, h.backup())
	}
	return ids
}

// A manifest that rots in the bucket, or goes, after it was read is told by every
// agent that runs: in the list, by an alarm, and in the status, until it is right
// again.
func TestAnOlderManifestThatRotsOrGoesIsNoticed(t *testing.T) {
	for name, damage := range map[string]func(c *cluster, key string, hosts ...*host){
		"changed": func(c *cluster, key string, _ ...*host) {
			body := c.object(key)
			body[len(body)/2] ^= 1
			c.replace(key, body)
		},
		"missing": func(c *cluster, key string, _ ...*host) { c.replace(key, nil) },
		"a bit that no list shows": func(_ *cluster, key string, hosts ...*host) {
			for _, h := range hosts {
				h.store.Inject(storetest.Fault{Op: storetest.Get, Key: key, Times: storetest.Forever, Do: storetest.CorruptBody(100)})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a, b := c.host("a"), c.host("b")
				b.change = func(cfg *Config) { cfg.Keep = 1 }
				a.init()
				a.start()
				a.untilLeading()
				b.join(false)
				b.start()
				ids := a.many(4)
				b.untilCached(ids[3])
				a.rests()
				old := ids[1]
				c.pass(firstLook)
				key := a.listed(old).Key
				for _, h := range []*host{a, b} {
					if got := h.listed(old); got.Damaged != "" {
						t.Fatalf("%s: %s", h.name, got.Damaged)
					}
				}
				was := c.object(key)
				damage(c, key, a, b)
				c.pass(upkeep.ObjectsEvery)
				for _, h := range []*host{a, b} {
					if h.listed(old).Damaged == "" {
						t.Errorf("%s lists it as good", h.name)
					}
					if s := h.agent.Status(); !slices.Equal(s.Damaged, []string{old}) || s.Verdict == report.VerdictHealthy {
						t.Errorf("%s: damaged: %v, verdict: %s", h.name, s.Damaged, s.Verdict)
					}
					if !h.alarmed("manifest", old) {
						t.Errorf("%s has raised no alarm", h.name)
					}
					for _, id := range []string{ids[0], ids[2]} {
						if got := h.listed(id); got.Damaged != "" {
							t.Errorf("%s: another backup is damaged: %s", h.name, got.Damaged)
						}
					}
					h.store.Heal()
				}
				c.replace(key, was)
				c.pass(upkeep.ObjectsEvery)
				for _, h := range []*host{a, b} {
					if got, s := h.listed(old), h.agent.Status(); got.Damaged != "" || len(s.Damaged) > 0 {
						t.Errorf("%s: still damaged: %q, %v", h.name, got.Damaged, s.Damaged)
					}
				}
			})
		})
	}
}

// An agent that was started after a manifest had gone knows by the one after it that
// it should be there.
func TestAManifestThatWentBeforeTheStartIsMissed(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.init()
		a.start()
		a.untilLeading()
		ids := a.many(4)
		key := a.listed(ids[1]).Key
		a.halt()
		c.replace(key, nil)
		a.start()
		a.untilLeading()
		c.pass(firstLook)
		if s := a.agent.Status(); !slices.Equal(s.Damaged, []string{ids[1]}) {
			t.Errorf("damaged: %v, want %s", s.Damaged, ids[1])
		}
	})
}

// What a standby has cached it writes again.
func TestAStandbyPutsAManifestBack(t *testing.T) {
	for name, body := range map[string][]byte{"missing": nil, "damaged": []byte("garbage")} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a, b := twoHosts(t, c)
				old := a.many(1)[0]
				b.untilCached(old)
				b.untilCached(a.many(1)[0])
				a.rests()
				c.pass(firstLook)
				key := a.listed(old).Key
				was := c.object(key)
				c.replace(key, body)
				c.pass(upkeep.ObjectsEvery + firstLook)
				if !slices.Equal(c.object(key), was) {
					t.Error("it was not put back")
				}
				c.pass(upkeep.ObjectsEvery)
				for _, h := range []*host{a, b} {
					if s := h.agent.Status(); len(s.Damaged) > 0 || h.listed(old).Damaged != "" {
						t.Errorf("%s: still damaged: %v", h.name, s.Damaged)
					}
				}
			})
		})
	}
}

// cluster.json that goes or rots is told within minutes, and written again by an
// agent that knows it.
func TestTheClustersObjectIsPutBack(t *testing.T) {
	for name, body := range map[string][]byte{"missing": nil, "damaged": []byte("garbage")} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a, b, d, _ := threeHosts(t, c)
				for _, h := range []*host{a, b, d} { // a bucket that does not let them write there
					h.store.Inject(storetest.Fault{Op: storetest.Conditional, Key: ha.ClusterKey, Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrDenied)})
				}
				c.replace(ha.ClusterKey, body)
				c.pass(2 * upkeep.ControlEvery)
				for _, h := range []*host{a, b, d} {
					h.until("it is told", mentions(ha.ClusterKey))
				}
				a.store.Heal()
				c.pass(2 * upkeep.ControlEvery)
				for _, h := range []*host{a, b, d} {
					h.until("it is over", func(s report.Status) bool { return !mentions(ha.ClusterKey)(s) })
				}
				if !a.alarmed(ha.ClusterKey, "written again") {
					t.Error("nobody says that it was written again")
				}
				if _, _, err := control.Open(t.Context(), control.Config{Store: c.memory, Ring: c.ring}); err != nil {
					t.Errorf("a command that is started now: %v", err)
				}
			})
		})
	}
}

// What another key has signed is not overwritten: this agent's own may be old.
func TestWhatAnUnknownKeyHasSignedIsNotOverwritten(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, _, _, _ := threeHosts(t, c)
		other := control.New(control.Config{Store: c.memory, Ring: newRing(t), Clock: bubbleClock{}, Timeout: control.DefaultTimeout}, a.agent.control.Cluster())
		_, cluster, err := control.Open(t.Context(), control.Config{Store: c.memory, Ring: c.ring})
		if err != nil {
			t.Fatal(err)
		}
		_, config := a.agent.configs.Current()
		configKey := ha.ConfigKey(a.agent.state.View().Head.Config)
		for key, object := range map[string]struct {
			kind ha.Kind
			any
		}{ha.ClusterKey: {ha.KindCluster, cluster}, configKey: {ha.KindConfig, config}} {
			signed, err := other.Encode(object.kind, key, object.any)
			if err != nil {
				t.Fatal(err)
			}
			c.replace(key, signed)
			c.pass(2 * upkeep.ControlEvery)
			a.until("it is told", mentions("key"))
			if !slices.Equal(c.object(key), signed) {
				t.Errorf("%s was overwritten", key)
			}
		}
	})
}

// Markers, acknowledgements and records of salvage backups that rot or go are told.
func TestControlObjectsThatRotOrGoAreTold(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := twoHosts(t, c)
		b.untilCached(a.backup())
		b.promote(promotions.PromotionRequest{})
		b.untilLeading()
		b.until("finished", func(s report.Status) bool { return s.Promotion == nil })
		b.rests()
		c.pass(firstLook)
		keys := c.keys(control.DemoteFolder)
		if len(keys) < 3 {
			t.Fatalf("%q: want a marker, an acknowledgement and a record", keys)
		}
		was := make(map[string][]byte)
		for i, key := range keys {
			was[key] = c.object(key)
			c.replace(key, [][]byte{nil, []byte("garbage")}[i%2])
		}
		c.pass(upkeep.ObjectsEvery)
		for _, h := range []*host{a, b} {
			for _, key := range keys {
				h.until(key+" is told", mentions(key))
			}
		}
		for key, body := range was {
			c.replace(key, body)
		}
		c.pass(upkeep.ObjectsEvery)
		for _, h := range []*host{a, b} {
			h.until("all is right again", func(s report.Status) bool { return !mentions("control objects")(s) })
		}
	})
}

// Whoever asks for the list has the bucket looked at soon.
func TestWhoAsksForTheListHasItLookedAt(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.init()
		a.start()
		a.untilLeading()
		ids := a.many(3)
		c.pass(firstLook)
		key := a.listed(ids[0]).Key
		c.pass(2 * upkeep.ControlEvery)
		c.replace(key, []byte("garbage"))
		a.listed(ids[0])
		c.pass(2 * upkeep.ControlEvery)
		if a.listed(ids[0]).Damaged == "" {
			t.Error("it is listed as good")
		}
	})
}

// A lease, and an instance's record, that rot are told, and are right again by
// themselves once they are written.
func TestALeaseAndARecordThatRotAreTold(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := twoHosts(t, c)
		b.untilCached(a.backup())
		a.rests()
		b.halt()
		record := ha.InstanceKey("b")
		was := c.object(record)
		c.replace(record, []byte("garbage"))
		a.until("the record is told", mentions("cannot be verified"))
		c.replace(record, was)
		b.start()
		a.until("the record is right", func(s report.Status) bool { return !mentions("cannot be verified")(s) })
		c.replace(ha.LeaseKey, []byte("garbage"))
		a.until("the lease is told", mentions(ha.LeaseKey))
		c.replace(ha.LeaseKey, nil)
		a.until("the lease is right", func(s report.Status) bool { return !mentions(ha.LeaseKey)(s) })
	})
}

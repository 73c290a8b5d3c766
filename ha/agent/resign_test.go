package agent

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// rings are the stages of a rotation.
type rings struct{ old, added, activated, retired *seal.Ring }

func newRings(t *testing.T) rings {
	t.Helper()
	old, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ring := func(r *seal.Ring, err error) *seal.Ring {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var s rings
	s.old = ring(seal.NewRing(old))
	s.added = ring(s.old.Add(fresh))
	s.activated = ring(s.added.Activate(fresh.ID()))
	s.retired = ring(s.activated.Retire(old.ID()))
	return s
}

// restart starts the agents with another ring, one after the other.
func restart(ring *seal.Ring, hosts ...*host) {
	for _, h := range hosts {
		h.t.Helper()
		h.halt()
		h.ring = ring
		h.start()
	}
}

// readable tries what a cluster cannot go on without, with a ring.
func (c *cluster) readable(ring *seal.Ring) error {
	b, cluster, err := control.Open(c.t.Context(), control.Config{Store: c.memory, Ring: ring})
	if err != nil {
		return err
	}
	h, err := b.Head(c.t.Context())
	if err != nil {
		return err
	}
	config, err := b.Config(c.t.Context(), h)
	if err != nil {
		return err
	}
	if _, err := b.OpenSecrets(config); err != nil {
		return err
	}
	_, err = ring.Unwrap(config.DataKey, cluster.ID)
	return err
}

func (c *cluster) object(key string) []byte {
	c.t.Helper()
	data, _, err := blobstore.ReadAll(c.t.Context(), c.memory, key, control.MaxObject)
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

func TestAKeyIsRotatedWithoutLosingAnything(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		stages := newRings(t)
		c.ring = stages.old
		a, b, d, first := threeHosts(t, c)
		b.promote(promotions.PromotionRequest{}) // leaves a lease behind
		b.untilLeading()
		a.until("stepped down", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		all := []*host{a, b, d}
		err := b.agent.shared.ChangeHooks(t.Context(), "a secret", func([]webhook.Hook) ([]webhook.Hook, error) {
			return []webhook.Hook{{ID: "w1", URL: "https://example.com"}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		before := b.agent.Status().Config.Digest
		cluster := c.object(ha.ClusterKey)

		restart(stages.added, all...)
		b.untilLeading()
		b.until("every instance reports the keys that it has", func(s report.Status) bool {
			return !slices.ContainsFunc(s.Instances, func(i report.InstanceStatus) bool { return !slices.Equal(i.Keys, stages.added.IDs()) })
		})
		if err := c.readable(stages.retired); !errors.Is(err, seal.ErrUnknownKey) {
			t.Errorf("a key that was only added is used: %v", err)
		}
		if !bytes.Equal(c.object(ha.ClusterKey), cluster) {
			t.Error("a key that was only added has changed the cluster's id")
		}

		restart(stages.activated, a, d) // the active is the last
		for _, key := range []string{ha.ClusterKey, ha.LeaseKey} {
			b.store.Inject(storetest.Fault{Op: storetest.Conditional, Key: key, Do: storetest.LoseAnswer()})
		}
		restart(stages.activated, b)
		b.until("what is in force is readable with the new key alone", func(report.Status) bool { return c.readable(stages.retired) == nil })
		if err := c.readable(stages.added); err != nil {
			t.Errorf("for an instance that has not activated the key: %v", err)
		}
		b.until("the data keys are wrapped anew", func(s report.Status) bool { return s.Config.Digest != before })
		bucket, _, err := control.Open(t.Context(), control.Config{Store: c.memory, Ring: stages.retired})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bucket.Instances(t.Context()); err != nil {
			t.Errorf("the instances' records with the new key alone: %v", err)
		}
		scope := seal.Scope{Type: string(ha.KindLease), Cluster: b.agent.control.Cluster(), Object: ha.LeaseKey}
		if _, err := stages.retired.Verify(scope, c.object(ha.LeaseKey)); err != nil {
			t.Errorf("the lease that is free: %v", err)
		}
		b.write("state", "two")
		second := b.backup()
		a.untilCached(second)

		restart(stages.retired, all...)
		b.until("the cluster is closed to the old key", func(report.Status) bool {
			_, _, err := control.Open(t.Context(), control.Config{Store: c.memory, Ring: stages.old})
			return errors.Is(err, seal.ErrUnknownKey)
		})
		b.untilLeading()
		b.write("state", "three")
		third := b.backup()
		a.untilCached(third)
		d.untilCached(third)
		if all, err := d.agent.shared.Hooks(); err != nil || len(all) != 1 || all[0].ID != "w1" {
			t.Errorf("the shared secrets on a standby: %+v, %v", all, err)
		}
		for _, h := range all {
			listed, err := h.agent.catalogue.Backups(t.Context(), 0)
			if err != nil {
				t.Fatalf("list backups on %s: %v", h.name, err)
			}
			for _, info := range listed {
				if info.ID == first {
					t.Errorf("%s lists a backup that only the retired key has signed", h.name)
				}
			}
			if len(listed) == 0 || listed[0].ID != third {
				t.Errorf("%s lists %+v", h.name, listed)
			}
			cached := h.agent.catalogue.Cached(control.Page{}).Backups
			if h != b && (len(cached) == 0 || cached[0].ID != third) {
				t.Errorf("%s has cached %+v", h.name, cached)
			}
		}

		d.halt()
		d.ring = stages.old
		if err := runOnce(t, d.config()); !errors.Is(err, seal.ErrUnknownKey) {
			t.Errorf("an agent with the retired key alone: %v", err)
		}
		a.promote(promotions.PromotionRequest{})
		a.untilLeading()
		a.has(map[string]string{"state": "three"})
	})
}

func TestAnInstanceThatLagsBehindInARotationTakesNothingBack(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		stages := newRings(t)
		c.ring = stages.added
		a, b, _, _ := threeHosts(t, c)
		restart(stages.activated, a)
		a.until("what is in force is readable with the new key alone", func(report.Status) bool { return c.readable(stages.retired) == nil })
		cluster := c.object(ha.ClusterKey)
		a.backup()
		b.promote(promotions.PromotionRequest{})
		b.untilLeading()
		s := b.agent.Status()
		digest, since := s.Config.Digest, s.Uptime
		b.until("it has looked at the table", func(s report.Status) bool { return s.Uptime > since+2*tableEvery.Seconds() })
		if !bytes.Equal(c.object(ha.ClusterKey), cluster) || b.agent.Status().Config.Digest != digest {
			t.Error("the old key is back in force")
		}
	})
}

func TestALeaseThatIsForgedDoesNotHoldARotationUp(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		stages := newRings(t)
		c.ring = stages.added
		a := c.host("a")
		a.init()
		if _, err := c.memory.Put(t.Context(), ha.LeaseKey, []byte("forged"), blobstore.Always); err != nil {
			t.Fatal(err)
		}
		a.ring = stages.activated
		a.start()
		a.until("what is in force is readable with the new key alone", func(report.Status) bool { return c.readable(stages.retired) == nil })
		if !bytes.Equal(c.object(ha.LeaseKey), []byte("forged")) {
			t.Error("the forged lease was signed")
		}
	})
}

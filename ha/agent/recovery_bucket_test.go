package agent

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/putback"
	"github.com/understudy-ha/understudy/ha/report"
)

// contents are a store's objects.
func contents(t *testing.T, m *storetest.Memory) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, key := range m.Keys() {
		data, _, err := blobstore.ReadAll(t.Context(), m, key, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		all[key] = data
	}
	return all
}

// putBack makes a store hold these objects and no others. At no time is one of them
// missing, such as the head.
func putBack(t *testing.T, m *storetest.Memory, all map[string][]byte) {
	t.Helper()
	for key, data := range all {
		if _, err := m.Put(t.Context(), key, data, blobstore.Always); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range m.Keys() {
		if _, there := all[key]; there {
			continue
		}
		if err := m.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}

// untilOlder waits until an instance says that its bucket was put back.
func (h *host) untilOlder() {
	h.t.Helper()
	h.until("the bucket is seen to be put back", func(s report.Status) bool {
		return s.Older != nil && strings.Contains(strings.Join(s.Problems, "; "), "understudy recover-bucket")
	})
}

// recover has the cluster go on, asked for on this host.
func (h *host) recover(without ...string) putback.RecoveryPlan {
	h.t.Helper()
	p, err := h.agent.recovery.PlanRecovery(h.t.Context(), without)
	if err == nil && p.Refused == "" {
		p, err = h.agent.recovery.RecoverBucket(event.WithActor(h.t.Context(), "op"), putback.RecoveryRequest{Reason: "test", Without: without, Epoch: p.Shown.Epoch, Rev: p.Shown.Rev})
	}
	if err != nil || p.Refused != "" {
		h.dump()
		h.t.Fatalf("recover on %s: %v, %+v", h.name, err, p)
	}
	return p
}

// An active and two standbys, one of them without a URL, go on from a bucket that
// was put back: nobody starts anew, the active leads, what the caches had is put
// back, and what was lost is told everywhere.
func TestAClusterGoesOnFromABucketThatWasPutBack(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, d := c.host("a"), c.host("b"), c.host("d")
		d.change = func(cfg *Config) { cfg.URL = "" }
		a.write("file", "first")
		a.init()
		a.start()
		a.untilLeading()
		for _, h := range []*host{b, d} {
			h.join(false)
			h.start()
		}
		first := a.backup()
		d.untilCached(first)
		copied := contents(t, c.memory)
		// Since then: a process of each, so that their records are of earlier ones, an
		// epoch, and backups.
		for _, h := range []*host{a, b, d} {
			h.halt()
			h.start()
		}
		a.untilLeading()
		b.promoteBy("test", promotions.PromotionRequest{})
		b.untilLeading()
		var lost []string
		for _, content := range []string{"second", "third"} {
			b.write("file", content)
			lost = append(lost, b.backup())
			a.untilCached(lost[len(lost)-1])
			d.untilCached(lost[len(lost)-1])
		}
		newest := lost[len(lost)-1]
		b.write("file", "never backed up")
		putBack(t, c.memory, copied)
		for _, h := range []*host{a, b, d} {
			h.untilOlder()
		}
		a.until("d can be asked by its record", func(report.Status) bool {
			p, err := a.agent.recovery.PlanRecovery(t.Context(), nil)
			return err == nil && p.Refused == ""
		})
		// A process that starts now knows its own earlier records.
		a.halt()
		a.start()
		a.untilOlder()
		a.until("d can be asked again", func(report.Status) bool {
			p, err := a.agent.recovery.PlanRecovery(t.Context(), nil)
			return err == nil && p.Refused == ""
		})
		p := a.recover()
		if p.Epoch != 3 || p.Active != "b" || p.Newest != newest || p.Missing == 0 || len(p.Cached) < len(lost) {
			t.Errorf("plan %+v", p)
		}
		b.untilLeading()
		b.until("a backup of the new epoch", func(s report.Status) bool { return s.LastBackup != nil && s.LastBackup.Epoch == 3 && s.Bucket == "ok" })
		b.has(map[string]string{"file": "never backed up"})
		now := b.agent.Status().LastBackup
		for _, h := range []*host{a, d} {
			h.untilCached(now.ID)
			s := h.until("told what was lost", func(s report.Status) bool { return s.Takeover != nil && s.Takeover.Epoch == 3 })
			if s.Role != ha.RoleStandby || s.Active != "b" || !strings.Contains(strings.Join(s.Takeover.Lost, "; "), "put back to an earlier state") {
				t.Errorf("%s: %+v", h.name, s.Takeover)
			}
		}
		list, err := d.agent.catalogue.Backups(t.Context(), 0)
		listed := map[string]bool{}
		for _, one := range list {
			listed[one.ID] = one.Damaged == ""
		}
		for _, id := range append(lost, first, now.ID) {
			if err != nil || !listed[id] {
				t.Errorf("backup %s is not listed, or damaged: %v", id, err)
			}
		}
		h, err := d.agent.catalogue.ClusterHistory(t.Context(), "", 0)
		told := false
		for _, e := range h.Events {
			told = told || e.Kind == control.RecoveryKind && e.By == "op" && e.Reason == "test"
		}
		if err != nil || !told {
			t.Errorf("history %+v, %v", h.Events, err)
		}
		d.promoteBy("test", promotions.PromotionRequest{})
		d.untilLeading()
		d.has(map[string]string{"file": "never backed up"})
	})
}

// A host that is pointed at a replica of the bucket, which is behind, does not go on
// from it while an instance sees the bucket itself.
func TestNobodyGoesOnFromAReplicaWhileTheBucketIsSeen(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := twoHosts(t, c)
		b.untilCached(a.backup())
		replica := storetest.NewMemory()
		putBack(t, replica, contents(t, c.memory))
		b.untilCached(a.backup())
		b.halt()
		b.store = storetest.NewFaulty(replica)
		b.start()
		b.untilOlder()
		before := contents(t, replica)[ha.HeadKey]
		for _, without := range [][]string{nil, {"a"}} {
			p, err := b.agent.recovery.PlanRecovery(t.Context(), without)
			if err != nil || !strings.Contains(p.Refused, "a still sees a newer head") {
				t.Errorf("plan without %v: %v, %+v", without, err, p)
			}
			_, err = b.agent.recovery.RecoverBucket(event.WithActor(t.Context(), "op"), putback.RecoveryRequest{Without: without, Epoch: p.Shown.Epoch, Rev: p.Shown.Rev})
			if !ha.IsRefusal(err) {
				t.Errorf("recover without %v: %v", without, err)
			}
		}
		// Who cannot be asked takes a word.
		c.net.setCut(true)
		p, err := b.agent.recovery.PlanRecovery(t.Context(), nil)
		if err != nil || !strings.Contains(p.Refused, "--without a") || string(contents(t, replica)[ha.HeadKey]) != string(before) {
			t.Errorf("plan with a cut network: %v, %+v", err, p)
		}
		if p := b.recover("a"); p.Epoch != 2 || p.Active != "a" {
			t.Errorf("recovered on a word: %+v", p)
		}
	})
}

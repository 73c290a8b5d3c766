package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// replace replaces an object of the bucket by other bytes; nil removes it.
func (c *cluster) replace(key string, body []byte) {
	c.t.Helper()
	err := c.memory.Delete(c.t.Context(), key)
	if err == nil && body != nil {
		_, err = c.memory.Put(c.t.Context(), key, body, blobstore.Always)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// offline opens the bucket as the command line does without an agent.
func (c *cluster) offline() (*control.Store, *storetest.Faulty) {
	c.t.Helper()
	store := storetest.NewFaulty(c.memory)
	b, _, err := control.Open(c.t.Context(), control.Config{Store: store, Ring: c.ring})
	if err != nil {
		c.t.Fatal(err)
	}
	return b, store
}

// again signs a manifest's content anew, changed.
func (c *cluster) again(ring *seal.Ring, ref backup.Ref, change func(m map[string]any)) []byte {
	c.t.Helper()
	scope := seal.Scope{Type: "manifest", Cluster: c.hosts["a"].agent.control.Cluster(), Object: ref.Key}
	payload, err := c.ring.Verify(scope, c.object(ref.Key))
	var m map[string]any
	if err == nil {
		err = json.Unmarshal(payload, &m)
	}
	if err == nil {
		change(m)
		payload, err = json.Marshal(m)
	}
	var signed []byte
	if err == nil {
		signed, err = ring.Sign(scope, payload)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return signed
}

func TestADamagedManifestHidesNoOther(t *testing.T) {
	damages := map[string]func(c *cluster, ref backup.Ref, body []byte) []byte{
		"one byte": func(_ *cluster, _ backup.Ref, body []byte) []byte {
			body[len(body)/2] ^= 1
			return body
		},
		"cut short": func(_ *cluster, _ backup.Ref, body []byte) []byte { return body[:len(body)/2] },
		"empty":     func(*cluster, backup.Ref, []byte) []byte { return []byte{} },
		"huge":      func(_ *cluster, _ backup.Ref, body []byte) []byte { return bytes.Repeat(body, 1000) },
		"missing":   func(*cluster, backup.Ref, []byte) []byte { return nil },
		"another format": func(c *cluster, ref backup.Ref, _ []byte) []byte {
			return c.again(c.ring, ref, func(m map[string]any) { m["format"] = 2 })
		},
		"an unknown key": func(c *cluster, ref backup.Ref, _ []byte) []byte {
			return c.again(newRing(c.t), ref, func(map[string]any) {})
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a := c.host("a")
				a.init()
				a.start()
				a.untilLeading()
				for i := range 12 {
					a.write("state", fmt.Sprint(i))
					a.backup()
				}
				all, err := a.agent.catalogue.Backups(t.Context(), 0)
				if err != nil || len(all) < 12 {
					t.Fatalf("%d backups, %v", len(all), err)
				}
				const at = 6
				bad := all[at].Ref
				c.replace(bad.Key, damage(c, bad, c.object(bad.Key)))
				b, _ := c.offline()
				list, err := b.Chain().List(t.Context(), "", 0)
				if err != nil || len(list.Backups) != len(all) {
					t.Fatalf("%d of %d backups are listed: %v", len(list.Backups), len(all), err)
				}
				for i, got := range list.Backups {
					if got.ID != all[i].ID || (got.Damaged != "") != (i == at) || got.Unlinked != (i == at+1) || got.Superseded {
						t.Errorf("%d: %+v", i, got)
					}
				}
				for _, i := range []int{0, at - 1, at + 1, len(all) - 1} {
					found, m, err := b.Chain().Find(t.Context(), all[i].ID)
					if err != nil || m.ID != all[i].ID || found.Digest != all[i].Digest || found.Unlinked != (i == at+1) {
						t.Errorf("backup %d: %+v, %v", i, found, err)
					}
				}
				if _, _, err := b.Chain().Find(t.Context(), bad.ID); err == nil {
					t.Error("the damaged one can be opened")
				}
				history, err := b.AuditLog().Page(t.Context(), "", 100)
				if err != nil {
					t.Fatal(err)
				}
				told := 0
				for _, e := range history.Events {
					if e.Backup == bad.ID && e.Kind == control.UnverifiedKind {
						told++
					}
					if e.Kind == control.BackupKind {
						told += 100
					}
				}
				if told != 100*(len(all)-1)+1 {
					t.Errorf("the cluster's history tells of %d backups and %d damaged ones, of %d", told/100, told%100, len(all))
				}
			})
		})
	}
}

// A newest backup that cannot be read keeps no active from making the next.
func TestBackupsGoOnPastADamagedOne(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.init()
		a.start()
		a.untilLeading()
		a.backup()
		a.halt()
		newest := a.journalHead(t)
		body := c.object(newest.Key)
		body[len(body)/2] ^= 1
		c.replace(newest.Key, body)
		a.start()
		a.untilLeading()
		a.write("state", "on")
		id := a.backup()
		b, _ := c.offline()
		list, err := b.Chain().List(t.Context(), "", 0)
		if err != nil || list.Backups[0].ID != id || !slices.ContainsFunc(list.Backups, func(i control.BackupInfo) bool { return i.ID == newest.ID && i.Damaged != "" }) {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// journalHead is the newest backup by the head in the bucket.
func (h *host) journalHead(t *testing.T) backup.Ref {
	t.Helper()
	b, _ := h.c.offline()
	head, err := b.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return *head.Newest
}

func TestABackupIsOpenedByItsIDInAHandfulOfRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, old := threeHosts(t, c)
		for i := range 60 {
			a.write("state", fmt.Sprint(i))
			a.backup()
		}
		offline, store := c.offline()
		store.Calls()
		if _, m, err := offline.Chain().Find(t.Context(), old); err != nil || m.ID != old {
			t.Fatalf("%v", err)
		}
		if n := len(store.Calls()); n > 12 {
			t.Errorf("%d requests to open one of 60 backups", n)
		}
		b.untilCached(a.backup())
		b.halt()
		b.start()
		b.until("ready", func(s report.Status) bool { return len(s.Cached) > 0 && s.Head != nil })
		b.store.Calls()
		p, err := b.agent.promotions.Preflight(t.Context(), promotions.PromotionRequest{Backup: old})
		if err != nil || len(p.Loss.Newer) != 61 {
			t.Errorf("%d newer backups, %v", len(p.Loss.Newer), err)
		}
		if n := len(b.store.Calls()); n > 20 {
			t.Errorf("%d requests for a preflight", n)
		}
	})
}

func TestTheLossPreviewCountsAllThatIsNewer(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, first := threeHosts(t, c)
		for i := range control.DefaultList + 7 {
			a.write("state", fmt.Sprint(i))
			a.backup()
		}
		p, err := b.agent.promotions.Preflight(t.Context(), promotions.PromotionRequest{Backup: first})
		if err != nil || len(p.Loss.Newer) != control.DefaultList+7 || !strings.Contains(p.Loss.Summary, fmt.Sprint(control.DefaultList+7)) {
			t.Errorf("%d newer backups, %q, %v", len(p.Loss.Newer), p.Loss.Summary, err)
		}
		offline, _ := c.offline()
		page, err := offline.Chain().List(t.Context(), "", 0)
		if err != nil || len(page.Backups) != control.DefaultList || page.Next != page.Backups[control.DefaultList-1].ID {
			t.Fatalf("%d backups, next %q, %v", len(page.Backups), page.Next, err)
		}
		rest, err := offline.Chain().List(t.Context(), page.Next, 0)
		if err != nil || len(rest.Backups) < 8 || rest.Next != "" || rest.Backups[0].Sequence != page.Backups[control.DefaultList-1].Sequence-1 {
			t.Errorf("the rest: %+v, %v", rest, err)
		}
	})
}

// A manifest that was written and never published is authentic, and said to be
// no part of the chain; a name that is not the one that was signed is refused.
func TestABackupThatWasNotPublishedIsSaidToBe(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.init()
		a.start()
		a.untilLeading()
		a.write("state", "one")
		a.backup()
		h := a.agent.state.View().Head
		ref, _, err := a.agent.maker.Backup(t.Context(), ha.MakeBackup{Epoch: 1, Sequence: h.Newest.Sequence + 1, Previous: h.Newest, Trigger: backup.Requested, Config: h.Config})
		if err != nil {
			t.Fatal(err)
		}
		a.write("state", "two")
		a.backup()
		a.write("state", "three")
		a.backup()
		b, _ := c.offline()
		found, _, err := b.Chain().Find(t.Context(), ref.ID)
		if err != nil || !found.Unlinked {
			t.Errorf("%+v, %v", found, err)
		}
		list, err := b.Chain().List(t.Context(), "", 0)
		if err != nil || slices.ContainsFunc(list.Backups, func(i control.BackupInfo) bool { return i.ID == ref.ID }) {
			t.Errorf("it is listed: %v", err)
		}
		renamed, err := backup.ParseID("20260301T120000Z-e00000009-s00000099-abcdef01")
		if err != nil {
			t.Fatal(err)
		}
		c.replace(renamed.Key, c.object(ref.Key))
		if _, _, err := b.Chain().Find(t.Context(), renamed.ID); !errors.Is(err, seal.ErrScope) && !errors.Is(err, seal.ErrSignature) {
			t.Errorf("a backup under another's name: %v", err)
		}
	})
}

func TestADamagedMarkerIsShownAndHidesNothingElse(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		_, b, d, _ := threeHosts(t, c)
		b.promote(promotions.PromotionRequest{})
		b.untilLeading()
		b.until("finished", func(s report.Status) bool { return s.Promotion == nil })
		d.untilCached(b.backup())
		c.replace(ha.MarkerKey(2), []byte("{}"))
		list, err := d.agent.catalogue.BackupsAfter(t.Context(), "", 0)
		if err != nil || len(list.Backups) < 3 || len(list.Damaged) != 1 || list.Damaged[0].Key != ha.MarkerKey(2) || list.Damaged[0].Reason == "" {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

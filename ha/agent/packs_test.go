package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
	"github.com/understudy-ha/understudy/ha/upkeep"
	"github.com/understudy-ha/understudy/restore"
)

// lose removes every pack from the bucket, and this host's copies of them.
func (c *cluster) lose(hosts ...*host) map[string][]byte {
	c.t.Helper()
	lost := make(map[string][]byte)
	for _, key := range c.keys("packs/") {
		lost[key] = c.object(key)
		c.replace(key, nil)
	}
	for _, h := range hosts {
		for key := range lost {
			if err := os.Remove(filepath.Join(h.data, "cache", key)); err != nil && !errors.Is(err, os.ErrNotExist) {
				c.t.Fatal(err)
			}
		}
	}
	return lost
}

// whole checks that a backup can be restored from the bucket.
func (c *cluster) whole(id string) error {
	b, _ := c.offline()
	_, m, err := b.Chain().Find(c.t.Context(), id)
	if err != nil {
		return err
	}
	return restore.Verify(c.t.Context(), b.Repository(), m, b.Repository().BucketPacks(), true, nil)
}

func isRed(s report.Status) bool {
	for _, p := range s.Problems {
		if strings.Contains(p, "missing from the bucket") {
			return true
		}
	}
	return false
}

// An active looks by itself within about an hour, says what is missing, and
// stores it again from the source.
func TestLostPacksAreNoticedAndStoredAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.init()
		a.start()
		a.untilLeading()
		a.write("state", strings.Repeat("one", 1000))
		old := a.backup()
		if err := a.agent.requests.Pause(event.WithActor(t.Context(), "test"), requests.PauseRequest{}); err != nil {
			t.Fatal(err)
		}
		c.pass(2 * upkeep.PacksEvery)
		c.lose(a)
		if c.whole(old) == nil {
			t.Fatal("nothing is lost")
		}
		c.pass(upkeep.PacksEvery)
		s := a.until("stored again", func(s report.Status) bool { return s.LastBackup.ID != old && !isRed(s) })
		if err := c.whole(s.LastBackup.ID); err != nil {
			t.Errorf("the newest backup: %v", err)
		}
		told := false
		for _, e := range a.agent.Events().Recent(0, 100) {
			told = told || e.Kind == upkeep.PacksKind && strings.Contains(e.Text, "missing") && strings.Contains(e.Text, old)
		}
		if !told {
			t.Error("no alarm names the backup that is hit")
		}
		info, _, err := a.agent.catalogue.BackupInfo(t.Context(), old)
		if err != nil || len(info.Warnings) == 0 {
			t.Errorf("the backup that is hit says nothing: %+v, %v", info, err)
		}
	})
}

// A pack that only an older backup needs is looked for as well. What was in it is
// no longer there to be stored again: the backup says that it is hit, and so does
// the status.
func TestLostPacksOfOlderBackupsAreNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.init()
		a.start()
		a.untilLeading()
		first := a.backup()
		before := c.keys("packs/")
		a.write("state", strings.Repeat("one", 1000))
		old := a.backup()
		var lost []string
		for _, key := range c.keys("packs/") {
			if !slices.Contains(before, key) {
				lost = append(lost, key)
			}
		}
		a.write("state", strings.Repeat("two", 1000))
		newest := a.backup()
		for _, key := range lost {
			c.replace(key, nil)
			if err := os.Remove(filepath.Join(a.data, "cache", key)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		if c.whole(old) == nil || c.whole(newest) != nil {
			t.Fatal("another backup than the older one is hit")
		}
		c.pass(2 * upkeep.PacksEvery)
		s := a.until("the older backup is known to be hit", func(s report.Status) bool { return slices.Contains(s.Hit, old) })
		if slices.Contains(s.Hit, first) || slices.Contains(s.Hit, newest) {
			t.Errorf("hit: %q, of %s, %s and %s", s.Hit, first, old, newest)
		}
		a.until("the status says so", func(s report.Status) bool {
			return slices.ContainsFunc(s.Caveats, func(text string) bool { return strings.Contains(text, old) }) && s.Verdict != report.VerdictHealthy
		})
		info, _, err := a.agent.catalogue.BackupInfo(t.Context(), old)
		if err != nil || len(info.Warnings) == 0 {
			t.Errorf("the backup that is hit says nothing: %+v, %v", info, err)
		}
	})
}

// What the active's cache lacks a standby puts back, so that older backups are
// whole again too.
func TestAStandbyPutsBackWhatTheActiveMisses(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		a.write("state", strings.Repeat("one", 1000))
		old := a.backup()
		b.untilCached(old)
		c.lose(a)
		id := a.backup() // which looks, because somebody asked for it
		if err := c.whole(id); err != nil {
			t.Errorf("the backup that was asked for: %v", err)
		}
		b.until("the older ones are whole again", func(report.Status) bool { return c.whole(old) == nil })
	})
}

func TestAFullBackupIsMadeOnRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		before := len(c.keys("packs/"))
		if err := a.agent.requests.RequireFull(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.untilCached(a.backup())
		if after := len(c.keys("packs/")); after < 2*before-1 {
			t.Errorf("%d packs after %d", after, before)
		}
		before = len(c.keys("packs/"))
		b.untilCached(a.backup())
		if after := len(c.keys("packs/")); after > before {
			t.Errorf("the one after it is full as well: %d packs after %d", after, before)
		}
		if err := b.agent.requests.RequireFull(t.Context()); !errors.As(err, new(*ha.Refusal)) {
			t.Errorf("on a standby: %v", err)
		}
	})
}

// Asked whether a backup can be restored, an active that finds it cannot repairs
// what it can.
func TestAVerificationThatFindsDamageHasItRepaired(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.init()
		a.start()
		a.untilLeading()
		a.write("state", "one")
		old := a.backup()
		c.lose(a)
		damage, err := a.agent.catalogue.Verify(t.Context(), "", false)
		if err != nil || damage == "" {
			t.Fatalf("%q, %v", damage, err)
		}
		s := a.until("stored again", func(s report.Status) bool { return s.LastBackup.ID != old && !isRed(s) })
		if err := c.whole(s.LastBackup.ID); err != nil {
			t.Error(err)
		}
		a.store.Inject(storetest.Fault{Op: storetest.List, Times: 1, Do: storetest.Fail(os.ErrPermission)})
		a.backup() // a list that fails keeps no backup from being made
	})
}

// spoil replaces packs by others of the same size, and removes these hosts' copies of
// them.
func (c *cluster) spoil(keys []string, hosts ...*host) {
	c.t.Helper()
	for _, key := range keys {
		body := slices.Clone(c.object(key))
		body[len(body)/2] ^= 1
		c.replace(key, body)
	}
	c.uncache(keys, hosts...)
}

func (c *cluster) uncache(keys []string, hosts ...*host) {
	c.t.Helper()
	for _, h := range hosts {
		for _, key := range keys {
			if err := os.Remove(filepath.Join(h.data, "cache", key)); err != nil && !errors.Is(err, os.ErrNotExist) {
				c.t.Fatal(err)
			}
		}
	}
}

// A pack that somebody overwrites with as many other bytes is noticed by the list, and
// what was in it is stored again, or put back by a standby.
func TestAPackThatIsOverwrittenIsNoticed(t *testing.T) {
	for _, cached := range []bool{false, true} {
		t.Run(fmt.Sprint("cached on a standby: ", cached), func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				a, b := c.host("a"), c.host("b")
				a.init()
				a.start()
				a.untilLeading()
				if cached {
					b.join(false)
					b.start()
				}
				a.write("state", strings.Repeat("one", 1000))
				old := a.backup()
				if cached {
					b.untilCached(old)
				}
				a.rests()
				c.pass(firstLook)
				c.spoil(c.keys("packs/"), a)
				if c.whole(old) == nil {
					t.Fatal("nothing is spoilt")
				}
				c.pass(upkeep.PacksEvery)
				s := a.until("stored again", func(s report.Status) bool { return s.LastBackup.ID != old && !isRed(s) })
				if err := c.whole(s.LastBackup.ID); err != nil {
					t.Errorf("the newest backup: %v", err)
				}
				if !a.alarmed("packs", "changed", old) {
					t.Error("no alarm names the backup that is hit")
				}
				if cached {
					b.until("the standby has put back the older one", func(report.Status) bool { return c.whole(old) == nil })
					c.pass(upkeep.PacksEvery)
					a.until("it is hit no more", func(s report.Status) bool { return !slices.Contains(s.Hit, old) })
				} else if info, _, err := a.agent.catalogue.BackupInfo(t.Context(), old); err != nil || len(info.Warnings) == 0 {
					t.Errorf("the backup that is hit says nothing: %+v, %v", info, err)
				}
			})
		})
	}
}

// What rots in a store without another version is found in rotation.
func TestWhatRotsInTheBucketIsFoundInRotation(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a := c.host("a")
		a.init()
		a.start()
		a.untilLeading()
		old := a.many(3)[1]
		a.rests()
		c.pass(firstLook)
		a.store.Inject(storetest.Fault{Op: storetest.Get, Key: "packs/**", Times: storetest.Forever, Do: storetest.CorruptBody(10)})
		c.uncache(c.keys("packs/"), a)
		c.pass(upkeep.PacksEvery)
		if !a.alarmed("packs", "changed") {
			t.Error("it was not found")
		}
		if s := a.agent.Status(); !slices.Contains(s.Hit, old) {
			t.Errorf("hit: %q, want %s", s.Hit, old)
		}
	})
}

// Packs that nothing but a superseded backup, or a salvage backup, needs are looked
// for as well, and these backups are named.
func TestLostPacksOfOtherBranchesAreNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b := twoHosts(t, c)
		first := a.many(1)[0]
		b.untilCached(first)
		a.write("state", strings.Repeat("superseded", 1000))
		superseded := a.backup()
		b.untilCached(superseded)
		a.write("state", strings.Repeat("salvaged", 1000))
		a.halt()
		c.pass(3 * time.Minute)
		b.promote(promotions.PromotionRequest{Backup: first, Mode: ha.ModeFailover})
		b.untilLeading()
		b.write("state", "another")
		b.backup()
		a.start()
		a.until("it is a standby", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.Demotion == nil })
		b.rests()
		c.pass(firstLook)
		var salvage string
		all, err := b.agent.catalogue.Backups(t.Context(), 0)
		for _, info := range all {
			if info.Salvage {
				salvage = info.ID
			}
		}
		if err != nil || salvage == "" {
			t.Fatalf("no salvage backup: %v", err)
		}
		needed := c.neededBy(b.agent.Status().LastBackup.ID)
		var lost []string
		for _, key := range c.keys("packs/") {
			if !needed[key] {
				lost = append(lost, key)
				c.replace(key, nil)
			}
		}
		c.uncache(lost, a, b)
		c.pass(upkeep.PacksEvery)
		s := b.until("they are known to be hit", func(s report.Status) bool {
			return slices.Contains(s.Hit, superseded) && slices.Contains(s.Hit, salvage)
		})
		if slices.Contains(s.Hit, s.LastBackup.ID) {
			t.Errorf("hit: %q, among them the newest", s.Hit)
		}
		for _, id := range []string{superseded, salvage} {
			if len(b.listed(id).Warnings) == 0 {
				t.Errorf("the list says nothing of %s", id)
			}
		}
	})
}

// neededBy are the keys of the packs that a backup needs.
func (c *cluster) neededBy(id string) map[string]bool {
	c.t.Helper()
	b, _ := c.offline()
	_, m, err := b.Chain().Find(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	_, index, err := b.Repository().Open(c.t.Context(), m, b.Repository().BucketPacks())
	if err != nil {
		c.t.Fatal(err)
	}
	keys := make(map[string]bool)
	for _, p := range index.Packs() {
		keys[p.Digest.Key()] = true
	}
	return keys
}

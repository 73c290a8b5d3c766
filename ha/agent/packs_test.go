package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
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
	_, m, err := b.Find(c.t.Context(), id)
	if err != nil {
		return err
	}
	return restore.Verify(c.t.Context(), b.Repository(), m, b.Repository().BucketPacks(), true, nil)
}

func isRed(s Status) bool {
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
		if err := a.agent.Pause(t.Context(), PauseRequest{By: "test"}); err != nil {
			t.Fatal(err)
		}
		c.pass(2 * packsEvery)
		c.lose(a)
		if c.whole(old) == nil {
			t.Fatal("nothing is lost")
		}
		c.pass(packsEvery)
		s := a.until("stored again", func(s Status) bool { return s.LastBackup.ID != old && !isRed(s) })
		if err := c.whole(s.LastBackup.ID); err != nil {
			t.Errorf("the newest backup: %v", err)
		}
		told := false
		for _, e := range a.agent.Events().Recent(0, 100) {
			told = told || e.Kind == packsKind && strings.Contains(e.Text, "missing") && strings.Contains(e.Text, old)
		}
		if !told {
			t.Error("no alarm names the backup that is hit")
		}
		info, _, err := a.agent.BackupInfo(t.Context(), old)
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
		b.until("the older ones are whole again", func(Status) bool { return c.whole(old) == nil })
	})
}

func TestAFullBackupIsMadeOnRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		a, b, _, _ := threeHosts(t, c)
		before := len(c.keys("packs/"))
		if err := a.agent.RequireFull(t.Context()); err != nil {
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
		if err := b.agent.RequireFull(t.Context()); !errors.As(err, new(*ha.Refusal)) {
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
		damage, err := a.agent.Verify(t.Context(), "", false)
		if err != nil || damage == "" {
			t.Fatalf("%q, %v", damage, err)
		}
		s := a.until("stored again", func(s Status) bool { return s.LastBackup.ID != old && !isRed(s) })
		if err := c.whole(s.LastBackup.ID); err != nil {
			t.Error(err)
		}
		a.store.Inject(storetest.Fault{Op: storetest.List, Times: 1, Do: storetest.Fail(os.ErrPermission)})
		a.backup() // a list that fails keeps no backup from being made
	})
}

package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// wantLocks checks that packs and manifests are locked, and nothing else.
func (c *cluster) wantLocks(least time.Duration) {
	c.t.Helper()
	for _, key := range c.memory.Keys() {
		lock, err := c.memory.LockOf(c.t.Context(), key)
		if err != nil {
			c.t.Fatal(err)
		}
		data := strings.HasPrefix(key, "packs/") || strings.HasPrefix(key, "backups/")
		if data != (lock.Mode == blobstore.Compliance) || data && lock.Until.Sub(c.memory.Now()) < least {
			c.t.Errorf("lock of %s: %+v, at %s", key, lock, c.memory.Now())
		}
	}
}

// A renewal leaves no pack as it is whose lock, or whose life, ends before those of
// the manifest that it puts again, however short the reuse window is.
func TestARenewedBackupIsLockedAsAWhole(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		const day = 24 * time.Hour
		clock := c.movable()
		c.memory.Versioned, c.memory.Locking = true, blobstore.Compliance
		a, b := c.host("a"), c.host("b")
		shared := ha.DefaultConfig()
		shared.Retention, shared.ReuseWindow = ha.Duration(400*day), ha.Duration(day)
		if _, err := Init(t.Context(), a.config(), shared); err != nil {
			t.Fatal(err)
		}
		a.write("state", "one")
		a.start()
		a.untilLeading()
		b.join(false)
		b.start()
		b.untilCached(a.backup())
		a.halt()
		delete(c.hosts, "a")
		clock.jump(170 * day)
		for _, key := range c.keys("packs/") { // by another standby, say, which was then interrupted
			data, _, err := blobstore.ReadAll(t.Context(), c.memory, key, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.memory.Put(t.Context(), key, data, blobstore.Always.Locked(blobstore.LockFor(blobstore.Compliance, c.memory.Now(), 402*day))); err != nil {
				t.Fatal(err)
			}
		}
		clock.jump(40 * day)
		c.pass(3 * time.Minute)
		newGuard(b).Turn(t.Context())
		until := func(key string) time.Time {
			lock, err := c.memory.LockOf(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			return lock.Until
		}
		manifest := until(b.agent.state.View().Head.Newest.Key)
		if left := manifest.Sub(c.memory.Now()); left < 399*day {
			t.Fatalf("the manifest was not renewed: its lock ends in %v", left)
		}
		for _, key := range c.keys("packs/") {
			if end := until(key); end.Before(manifest) {
				t.Errorf("the lock of %s ends %v before that of the backup", key, manifest.Sub(end))
			}
		}
	})
}

func TestBackupsAreLockedWhereTheBucketCan(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		clock := c.movable()
		c.memory.Versioned, c.memory.Locking = true, blobstore.Compliance
		a, b, _, _ := threeHosts(t, c)
		c.wantLocks(14*24*time.Hour - time.Hour)
		if got := a.agent.Status().Retention.Lock; got != blobstore.Compliance {
			t.Errorf("status: lock %q", got)
		}
		// The standby that renews the newest backup locks it again.
		a.halt()
		delete(c.hosts, "a")
		clock.jump(13 * 24 * time.Hour)
		c.pass(3 * time.Minute)
		newGuard(b).Turn(t.Context())
		newest := b.agent.state.View().Head.Newest.Key
		if lock, err := c.memory.LockOf(t.Context(), newest); err != nil || lock.Until.Sub(c.memory.Now()) < 13*24*time.Hour {
			t.Errorf("lock of the renewed %s: %+v, %v", newest, lock, err)
		}
	})
}

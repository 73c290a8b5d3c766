package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
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
		newGuard(b).look(t.Context())
		newest := b.agent.view().Head.Newest.Key
		if lock, err := c.memory.LockOf(t.Context(), newest); err != nil || lock.Until.Sub(c.memory.Now()) < 13*24*time.Hour {
			t.Errorf("lock of the renewed %s: %+v, %v", newest, lock, err)
		}
	})
}

package backup

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

func (w *world) locked(o *Order) {
	o.Lock, o.Retention, o.ReuseWindow = blobstore.Compliance, 10*day, 4*day
}

// lockOf is how long an object stays locked from now on.
func (w *world) lockOf(key string) time.Duration {
	w.t.Helper()
	l, err := w.store.LockOf(w.t.Context(), key)
	must(w.t, err)
	if l.Mode == blobstore.NoLock {
		return 0
	}
	return l.Until.Sub(w.now)
}

func TestPacksAndManifestsAreLockedForAsLongAsTheyLive(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{noise(1, 300_000), noise(2, 300_000)}
	w.write(w.locked)
	for _, key := range w.objects() {
		want := 10 * day
		if strings.HasPrefix(key, "packs/") {
			want = 15 * day
		}
		if got := w.lockOf(key); got < want || got > want+time.Second {
			t.Errorf("%s is locked for %v, want %v", key, got, want)
		}
	}
	// Without a lock nothing is.
	w.now = w.now.Add(time.Hour)
	if ref, _ := w.write(); w.lockOf(ref.Key) != 0 {
		t.Errorf("%s is locked", ref.Key)
	}
}

// A longer retention, or a lock that came later, reaches what is reused.
func TestLocksOfReusedPacksAreExtended(t *testing.T) {
	for name, before := range map[string]func(*Order){
		"it was not locked":         func(o *Order) { o.Retention, o.ReuseWindow = 10*day, 4*day },
		"the retention was shorter": func(o *Order) { o.Lock, o.Retention, o.ReuseWindow = blobstore.Compliance, 2*day, 4*day },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.app.state = [][]byte{noise(1, 300_000), noise(2, 300_000)}
			w.write(before)
			packs := w.objects()
			w.now = w.now.Add(day)
			w.write(w.locked)
			for _, key := range packs {
				if strings.HasPrefix(key, "packs/") && w.lockOf(key) > 10*day {
					t.Fatalf("the lock of %s was extended without being asked", key)
				}
			}
			ref, m := w.write(w.locked, func(o *Order) { o.ExtendLocks = true })
			_, index, err := w.repo.Open(t.Context(), m, w.repo.BucketPacks())
			must(t, err)
			for _, p := range index.Packs() {
				if got := w.lockOf(p.Digest.Key()); got < w.lockOf(ref.Key) {
					t.Errorf("pack %s is locked for %v, the manifest that needs it for %v", p.Digest, got, w.lockOf(ref.Key))
				}
			}
		})
	}
}

// A lock costs no request when nothing changed.
func TestALockCostsNoRequest(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{noise(1, 300_000)}
	w.write(w.locked)
	clear(w.store.counts)
	w.write(w.locked)
	total := 0
	for _, n := range w.store.counts {
		total += n
	}
	if total != 1 {
		t.Errorf("a backup of what did not change took %v, want the manifest alone", w.store.counts)
	}
}

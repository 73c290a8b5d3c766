package api

import (
	"maps"
	"sync"
	"time"
)

// throttle lets each key fail so many times at once, and then once in a while.
// It is safe for concurrent use.
type throttle struct {
	now   func() time.Time
	burst int
	every time.Duration

	mu    sync.Mutex
	owed  map[string]time.Time // when all of a key's failures are forgiven
	swept time.Time
}

// maxThrottled bounds the keys that are remembered. When they are all taken by
// those who fail, one of those who owe least is forgotten: nobody who comes new
// waits for what others did.
const maxThrottled = 10_000

func newThrottle(now func() time.Time, burst int, every time.Duration) *throttle {
	return &throttle{now: now, burst: burst, every: every, owed: make(map[string]time.Time)}
}

// take counts an attempt of key as failed, or says how long to wait before the
// next one.
func (t *throttle) take(key string) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if _, known := t.owed[key]; !known && len(t.owed) >= maxThrottled {
		t.makeRoom(now)
	}
	next := t.owed[key]
	if next.Before(now) {
		next = now
	}
	next = next.Add(t.every)
	if over := next.Sub(now) - time.Duration(t.burst)*t.every; over > 0 {
		return over
	}
	t.owed[key] = next
	return 0
}

// forgive takes back an attempt that has succeeded.
func (t *throttle) forgive(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if next, known := t.owed[key]; known {
		t.owed[key] = next.Add(-t.every)
	}
}

// makeRoom drops the keys that owe nothing, at most once in a while, or one
// that owes little.
func (t *throttle) makeRoom(now time.Time) {
	if now.Sub(t.swept) >= t.every {
		t.swept = now
		maps.DeleteFunc(t.owed, func(_ string, until time.Time) bool { return !until.After(now) })
	}
	if len(t.owed) < maxThrottled {
		return
	}
	var least string
	seen := 0
	for key, until := range t.owed { // in random order: a sample
		if seen == 0 || until.Before(t.owed[least]) {
			least = key
		}
		if seen++; seen == roomSample {
			break
		}
	}
	delete(t.owed, least)
}

// roomSample is of how many keys the one that owes least makes room.
const roomSample = 16

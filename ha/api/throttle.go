package api

import (
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

// maxThrottled bounds the keys that are remembered; when they are all taken by
// those who fail, everybody else waits with them.
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
		t.forget(now)
		if len(t.owed) >= maxThrottled {
			key = ""
		}
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

// forget drops the keys that owe nothing, at most once in a while.
func (t *throttle) forget(now time.Time) {
	if now.Sub(t.swept) < t.every {
		return
	}
	t.swept = now
	for key, until := range t.owed {
		if !until.After(now) {
			delete(t.owed, key)
		}
	}
}

package shipping

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
)

// backlog is what was read of a log and is not known to be in the bucket. It is safe for
// concurrent use.
type backlog struct {
	mu   sync.Mutex
	read []readUpTo // oldest first
}

// readUpTo is log that ends at a position, the first of which was read at that time.
type readUpTo struct {
	to stream.Position
	at time.Time
}

// grain is how exactly times of reading are kept.
const grain = 100 * time.Millisecond

// grow takes in what was read.
func (b *backlog) grow(to stream.Position, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.read); n > 0 && at.Sub(b.read[n-1].at) < grain {
		b.read[n-1].to = to
		return
	}
	b.read = append(b.read, readUpTo{to, at})
}

// took drops what is in the bucket.
func (b *backlog) took(to stream.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read = slices.DeleteFunc(b.read, func(one readUpTo) bool { return one.to <= to })
}

// oldest is when the oldest of it was read; false: there is nothing.
func (b *backlog) oldest() (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.read) == 0 {
		return time.Time{}, false
	}
	return b.read[0].at, true
}

// reading is how a run reads its log, and up to when that is in the bucket. Its run guards
// it.
type reading struct {
	open   *backlog      // of the log that is open; nil: none is
	opened time.Duration // by the monotonic clock
	live   bool          // what had gathered before it was opened is in the bucket, as far as that can be told
	asOf   time.Time     // while it is not live: what was read by then is in the bucket; zero: that is not known
	err    string        // why it is not shipped

	reached time.Duration // when the newest part was there, by the monotonic clock
}

// upTo is the time up to which everything that was read is in the bucket.
func (r *reading) upTo(now time.Time) time.Time {
	if !r.live {
		return r.asOf
	}
	if at, waits := r.open.oldest(); waits {
		return at
	}
	return now
}

// ends notes that the log is not read any more.
func (r *reading) ends(now time.Time) {
	r.asOf = r.upTo(now)
	r.open, r.live = nil, false
}

// counts are what was shipped of one source in this process.
type counts struct{ parts, bytes, gaps atomic.Int64 }

// Counts are what this process has shipped of one source.
type Counts struct{ Parts, Bytes, Gaps int64 }

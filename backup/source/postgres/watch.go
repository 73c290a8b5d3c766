package postgres

import (
	"sync"
	"time"
)

// longSnapshot is for how long a dump may hold its snapshot before the backup
// says so. As long as the snapshot is there the server keeps every dead row.
const longSnapshot = 30 * time.Minute

// SnapshotAge implements Snapshotter.
func (p *Source) SnapshotAge() (now, last time.Duration) { return p.snapshot.age() }

// snapshotWatch knows how old a snapshot is.
type snapshotWatch struct {
	now func() time.Time

	mu    sync.Mutex
	since time.Time // zero: none is open
	last  time.Duration
}

func (w *snapshotWatch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = w.now()
}

// end returns for how long the snapshot was open.
func (w *snapshotWatch) end() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.since.IsZero() {
		w.last = w.now().Sub(w.since)
	}
	w.since = time.Time{}
	return w.last
}

func (w *snapshotWatch) age() (now, last time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.since.IsZero() {
		now = w.now().Sub(w.since)
	}
	return now, w.last
}

package source

import (
	"sync"
	"time"
)

// longSnapshot is for how long a dump may hold its snapshot before the backup
// says so. As long as the snapshot is there the server keeps every dead row.
const longSnapshot = 30 * time.Minute

// Snapshotter is a source whose dump holds a snapshot of a database, which is
// a burden to its server for as long as it lasts.
type Snapshotter interface {
	// SnapshotAge returns for how long a dump that is under way has held its
	// snapshot (0 when there is none), and for how long the last one held its
	// own (0 when none has ended in this process).
	SnapshotAge() (now, last time.Duration)
}

// SnapshotAge implements Snapshotter.
func (p *Postgres) SnapshotAge() (now, last time.Duration) { return p.snapshot.age() }

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

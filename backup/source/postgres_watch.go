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
	// SnapshotOpen returns for how long, at the time now, a dump that is under
	// way has held its snapshot (0 when there is none), and for how long the
	// last one did that ended in this process.
	SnapshotOpen(now time.Time) (age, last time.Duration)
}

// SnapshotOpen implements Snapshotter.
func (p *Postgres) SnapshotOpen(now time.Time) (age, last time.Duration) { return p.snapshot.read(now) }

// snapshotWatch knows how old a snapshot is.
type snapshotWatch struct {
	mu    sync.Mutex
	since time.Time // zero: none is open
	last  time.Duration
}

func (w *snapshotWatch) begin(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = now
}

func (w *snapshotWatch) end(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.since.IsZero() {
		w.last = now.Sub(w.since)
	}
	w.since = time.Time{}
	return w.last
}

func (w *snapshotWatch) read(now time.Time) (age, last time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.since.IsZero() {
		age = now.Sub(w.since)
	}
	return age, w.last
}

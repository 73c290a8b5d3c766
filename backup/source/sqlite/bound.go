package sqlite

import (
	"cmp"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// While somebody reads a snapshot, SQLite cannot take what is committed out of the
// WAL, which grows. A store that is slow must not fill the application's disk: once
// the WAL has grown by as much as the database has, or 64 MiB, the rest of the
// snapshot goes to a temporary file, which ends the reading, and is stored from
// there.
const (
	walGrowth = 64 << 20
	walEvery  = time.Second // between two looks at the WAL
)

// boundedPages are the pages of a snapshot for somebody who may read slowly.
type boundedPages struct {
	from    *snapshot
	wal     fsx.Place
	scratch string
	bound   int64 // of the WAL's size
	end     chan struct{}
	ended   chan struct{}

	mu    sync.Mutex
	pages *pageReader // until they are spooled
	spool *os.File    // from then on
	err   error       // why they could not be
}

// bounded begins to watch the WAL.
func (s *Storing) bounded(from *snapshot, pages *pageReader) *boundedPages {
	b := &boundedPages{
		from: from, pages: pages, wal: s.At.With("-wal"), scratch: s.Scratch,
		end: make(chan struct{}), ended: make(chan struct{}),
	}
	b.bound = b.size() + cmp.Or(s.WalGrowth, max(walGrowth, from.facts.Size))
	go b.watch(cmp.Or(s.WalEvery, walEvery))
	return b
}

// size is how large the WAL is.
func (b *boundedPages) size() int64 {
	st, err := b.wal.Stat()
	if err != nil {
		return 0 // a WAL that is not there does not grow
	}
	return st.Size
}

func (b *boundedPages) watch(every time.Duration) {
	defer close(b.ended)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-b.end:
			return
		case <-tick.C:
			if b.size() > b.bound {
				b.let()
				return
			}
		}
	}
}

// let spools what has not been read, and lets go of the snapshot.
func (b *boundedPages) let() {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.end:
		return
	default:
	}
	if b.spool, b.err = spoolPages(b.pages, b.scratch); b.err != nil {
		b.err = fmt.Errorf("the WAL of the database has grown past %d bytes while the backup was being stored, and what is left to store cannot be put aside: make room in the data folder, or for a quicker store: %w", b.bound, b.err)
	}
	if err := b.pages.Close(); b.err == nil {
		b.err = err
	}
	if err := b.from.Close(); b.err == nil {
		b.err = err
	}
}

// Read implements io.Reader.
func (b *boundedPages) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		return 0, b.err
	case b.spool != nil:
		return b.spool.Read(p)
	}
	return b.pages.Read(p)
}

// Close implements io.Closer. It leaves the snapshot to whoever opened it.
func (b *boundedPages) Close() error {
	close(b.end)
	<-b.ended
	if b.spool == nil {
		return nil
	}
	return b.spool.Close()
}

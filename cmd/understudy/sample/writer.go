package sample

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"
)

// writer commits without a pause, except while it is held.
type writer struct {
	table    *table
	uploads  uploads
	files    bool
	ledger   *ledger
	interval time.Duration
	size     int

	// turn holds one token: a commit needs it, and quiesce keeps it.
	turn chan struct{}

	mu      sync.Mutex
	release *time.Timer // set while held
}

func newWriter(c config, t *table, l *ledger) *writer {
	w := &writer{
		table: t, ledger: l,
		uploads: uploads(c.uploads()), files: c.files,
		interval: c.interval, size: c.payload,
		turn: make(chan struct{}, 1),
	}
	w.turn <- struct{}{}
	return w
}

// loop commits until ctx ends. A commit under way is finished, ledger and all.
func (w *writer) loop(ctx context.Context) error {
	_, serial, err := w.table.count(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		select {
		case <-ctx.Done(): // stopped while held: what the backup saw was the last
			return nil
		case <-w.turn:
		}
		serial++
		err := w.commit(context.WithoutCancel(ctx), serial)
		w.turn <- struct{}{}
		if err != nil {
			return err
		}
	}
}

// commit makes one row: file first, so that every row's file is there after a
// crash; then the row; then the ledger.
func (w *writer) commit(ctx context.Context, serial int64) error {
	payload := make([]byte, w.size)
	if _, err := rand.Read(payload); err != nil {
		return fmt.Errorf("make payload: %w", err)
	}
	r := newRow(serial, payload)
	if w.files {
		if err := w.uploads.put(r); err != nil {
			return err
		}
	}
	if err := w.table.add(ctx, r); err != nil {
		return err
	}
	return w.ledger.acknowledge(r)
}

// quiesce returns when no commit is under way, and holds the next ones until
// resume, at most for limit: a backup that died must not stop the application.
func (w *writer) quiesce(limit time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.release != nil {
		w.release.Reset(limit)
		return
	}
	<-w.turn
	w.release = time.AfterFunc(limit, w.resume)
}

func (w *writer) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.release == nil {
		return
	}
	w.release.Stop()
	w.release = nil
	w.turn <- struct{}{}
}

func (w *writer) held() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.release != nil
}

package event

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"
)

// disk writes events to the files beside those who add them, so that a disk which
// does not answer holds up nobody. It is safe for concurrent use.
type disk struct {
	opt  Options
	wake chan struct{} // there is something to do
	done chan struct{} // closed when the file is

	using chan struct{} // holds one token while the file is in use
	file  *file

	mu      sync.Mutex
	pending []entry
	lost    int  // pending events that were dropped
	silent  bool // the disk has not answered in time; nobody waits for it
	closing bool
	failing bool  // the file cannot be written; said once
	err     error // of closing it
}

// entry is an event to be written.
type entry struct {
	Event
	written chan struct{}
}

const (
	// diskPatience is how long whoever adds an event waits for the disk.
	diskPatience = 250 * time.Millisecond
	// readPatience is how long whoever reads the files waits for them.
	readPatience = time.Second
	// closePatience is how long the end waits for what is not written yet.
	closePatience = 5 * time.Second
)

var errSilent = errors.New("the disk does not answer")

func newDisk(f *file, opt Options) *disk {
	d := &disk{opt: opt, file: f, wake: make(chan struct{}, 1), done: make(chan struct{}), using: make(chan struct{}, 1)}
	go d.run()
	return d
}

// add has an event written, and returns what is closed then.
func (d *disk) add(e Event) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	written := make(chan struct{})
	d.pending = append(d.pending, entry{e, written})
	if over := len(d.pending) - d.opt.InMemory; over > 0 {
		d.pending = d.pending[over:]
		d.lost += over
	}
	d.poke()
	return written
}

func (d *disk) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// wait waits for what add has returned, unless the disk is silent.
func (d *disk) wait(written <-chan struct{}) {
	d.mu.Lock()
	silent := d.silent
	d.mu.Unlock()
	if written == nil || silent {
		return
	}
	if !within(diskPatience, written) {
		d.mu.Lock()
		d.silent = true
		d.mu.Unlock()
	}
}

func within(patience time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// run writes whatever there is to write, until close.
func (d *disk) run() {
	defer close(d.done)
	for range d.wake {
		for d.writeSome() {
		}
		d.mu.Lock()
		closing := d.closing && len(d.pending) == 0
		d.mu.Unlock()
		if closing {
			d.using <- struct{}{}
			d.err = d.file.close()
			return
		}
	}
}

// writeSome writes what is pending. It reports false when nothing was.
func (d *disk) writeSome() bool {
	d.mu.Lock()
	batch, lost := d.pending, d.lost
	d.pending, d.lost = nil, 0
	d.mu.Unlock()
	if len(batch) == 0 {
		return false
	}
	d.using <- struct{}{}
	var err error
	for _, e := range batch {
		if failure := d.file.add(e.Event); failure != nil {
			err = failure
		}
	}
	<-d.using
	d.wrote(err, lost)
	for _, e := range batch {
		close(e.written)
	}
	return true
}

func (d *disk) wrote(err error, lost int) {
	d.mu.Lock()
	first := err != nil && !d.failing
	d.failing, d.silent = err != nil, false
	d.mu.Unlock()
	ctx := context.Background() //nolint:forbidigo // whoever added them need not be there any more
	if first {
		d.opt.Logger.LogAttrs(ctx, slog.LevelError, "events cannot be written to disk", slog.Any("error", err))
	}
	if lost > 0 {
		d.opt.Logger.LogAttrs(ctx, slog.LevelError, "events were not written to disk, which did not answer", slog.Int("events", lost))
	}
}

// read opens the files; none while the disk is silent.
func (d *disk) read() ([]*os.File, error) {
	timer := time.NewTimer(readPatience)
	defer timer.Stop()
	select {
	case d.using <- struct{}{}:
		defer func() { <-d.using }()
		return d.file.read()
	case <-timer.C:
		return nil, errSilent
	}
}

// close writes what is pending, and closes the file.
func (d *disk) close() error {
	d.mu.Lock()
	d.closing = true
	d.mu.Unlock()
	d.poke()
	if !within(closePatience, d.done) {
		return errSilent
	}
	return d.err
}

package shipping

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha/clock"
)

// own is this host's log from where the stream in the bucket ends, as far as it was read.
type own struct {
	buf      []byte
	from, to stream.Position // of buf
	at       time.Time       // when the last of it was read, by the wall clock
	err      error           // what ended the reading; io.EOF: the log has ended

	pieces chan piece
	held   *piece // which did not fit
	waits  *backlog
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// piece is some log as it was read.
type piece struct {
	log []byte
	to  stream.Position
	at  time.Time
	err error
}

// read reads a log ahead of what is shipped, by a few pieces.
func read(ctx context.Context, log source.Log, from stream.Position, c clock.Clock) *own {
	ctx, cancel := context.WithCancel(ctx)
	o := &own{from: from, to: from, pieces: make(chan piece, 1), waits: new(backlog), cancel: cancel}
	o.done.Go(func() {
		for {
			got, to, err := log.Next(ctx)
			p := piece{log: slices.Clone(got), to: to, at: c.Now().Wall, err: err}
			if len(got) > 0 {
				o.waits.grow(to, p.at)
			}
			select {
			case o.pieces <- p:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	return o
}

// end stops reading, and waits until nobody does.
func (o *own) end() {
	o.cancel()
	o.done.Wait()
}

// add takes a piece in; false: it does not fit into a part with what is there.
func (o *own) add(p piece) bool {
	if len(o.buf) > 0 && len(o.buf)+len(p.log) > stream.MaxLog {
		o.held = &p
		return false
	}
	if len(p.log) > 0 {
		o.buf, o.to, o.at = append(o.buf, p.log...), p.to, p.at
	}
	o.err = p.err
	return true
}

// reach reads on up to a position.
func (o *own) reach(ctx context.Context, to stream.Position) error {
	for o.to < to {
		if o.err != nil {
			return o.err
		}
		if o.held != nil {
			return fmt.Errorf("a part holds more than %d bytes of log", stream.MaxLog)
		}
		select {
		case p := <-o.pieces:
			o.add(p)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// gathered says why a part with what is there is due.
type gathered int

const (
	isDue     gathered = iota
	isFull             // nothing fits any more
	isEnded            // the log has ended, or cannot be read on
	isHurried          // somebody waits
	isIdle             // there is nothing, and it is time to look what the bucket has
)

// gather takes in what comes until a part is due: when there is something and wait has
// passed since, or at once when somebody hurries; or until there is a beat with nothing
// there.
func (o *own) gather(ctx context.Context, wait func() time.Duration, hurry, beat <-chan struct{}) (gathered, error) {
	var due <-chan time.Time
	for {
		if len(o.buf) > 0 && due == nil {
			due = time.After(wait())
		}
		if o.err != nil {
			return isEnded, nil //nolint:nilerr // what is there comes first; then the caller looks why
		}
		if p := o.held; p != nil {
			o.held = nil
			if !o.add(*p) {
				return isFull, nil
			}
			continue
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-hurry:
			return isHurried, nil
		case <-beat:
			if len(o.buf) == 0 {
				return isIdle, nil
			}
		case <-due:
			return isDue, nil
		case p := <-o.pieces:
			if !o.add(p) {
				return isFull, nil
			}
		}
	}
}

// hasEnded reports whether all of the log is there: its server has said that there will
// be no more.
func (o *own) hasEnded() bool { return errors.Is(o.err, io.EOF) }

// took drops what is in the bucket, up to a position, and returns how many bytes that is:
// positions count the log's bytes.
func (o *own) took(to stream.Position) int {
	n := len(o.buf)
	if to < o.to {
		n = int(to - o.from) //nolint:gosec // within buf, whose log Append has compared
	}
	o.buf, o.from = slices.Clone(o.buf[n:]), to
	o.waits.took(to)
	return n
}

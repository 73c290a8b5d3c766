package shipping

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/event"
)

// run ships one stream until it is closed, or stopped.
type run struct {
	*shipper
	id      stream.ID
	ctx     context.Context // ends with cancel
	cancel  context.CancelFunc
	done    chan struct{} // closed when it has ended
	closing *closing
	hurry   chan struct{} // closed once closing is asked for
	beat    chan struct{} // has one when an idle stream is to be looked at
	sync    *patience     // nil: commits do not wait for the bucket
	shipped time.Duration // when the last part was begun, by the monotonic clock: the run's own

	mu        sync.Mutex
	tip       stream.Tip      // the newest part that is known to be there, and to hold this host's log
	unbased   bool            // no backup leads up to it yet: nothing of it is confirmed to the source
	confirmed stream.Position // what the source was told
	reading   reading
}

// closing asks a run to ship what is left, and to close its stream.
type closing struct {
	run *run
	end stream.End
	tip chan stream.Tip // the end part
}

func newRun(s *shipper, of ha.Stream) *run {
	r := &run{shipper: s, id: of.ID, unbased: of.Unbased, done: make(chan struct{}), hurry: make(chan struct{}), beat: make(chan struct{}, 1), tip: of.Tip}
	if r.tip.Sequence == 0 {
		r.tip = stream.Tip{To: of.From}
	}
	r.reading.asOf = r.tip.Time
	r.sync = newPatience(s.cfg, s.name, s.from)
	r.ctx, r.cancel = context.WithCancel(s.life)
	return r
}

// Waits between two attempts to ship.
const (
	retryFirst = 250 * time.Millisecond
	retryMax   = 10 * time.Second
)

// keep ships, and after a failure tries again, until the stream is closed or cancelled.
func (r *run) keep() {
	defer close(r.done)
	defer r.cancel()
	ctx := r.ctx
	r.sync.wait() // an earlier process may have commits wait
	if r.sync != nil {
		var watching sync.WaitGroup
		watching.Go(func() { r.sync.watch(ctx) })
		defer watching.Wait()
		defer r.cancel()
	}
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		before := r.reached()
		err := r.ship(ctx)
		r.sync.wait() // nothing is confirmed until it is shipped again
		if ctx.Err() != nil || r.isOver(ctx, err) {
			return
		}
		if r.reached() != before {
			wait = retryFirst
		}
		r.trouble(ctx, err)
		if clock.Wait(ctx, wait) != nil {
			return
		}
	}
}

// trouble says that the log is not shipped.
func (r *run) trouble(ctx context.Context, err error) {
	r.mu.Lock()
	r.reading.err = err.Error()
	r.mu.Unlock()
	since := "the newest backup"
	if at := r.reached().Time; !at.IsZero() {
		since = at.UTC().Format(time.TimeOnly) + " UTC"
	}
	r.cfg.Log.Trouble(ctx, kind, r.name, fmt.Sprintf("the log of %s is not shipped, which is tried again; a failover now would lose what was written since %s: %v", r.name, since, err))
}

// isOver tells the machine what has ended a stream, if something has.
func (r *run) isOver(ctx context.Context, err error) bool {
	var (
		ended  *stream.EndedError
		forked *stream.ForkedError
	)
	switch {
	case err == nil: // closed, as was asked
		to := r.reached().To
		r.over(r, &to)
	case errors.As(err, &ended):
		to := ended.Tip.To
		r.over(r, &to)
		r.cfg.Post(ha.StreamClosed{Source: r.name, ID: r.id, Tip: ended.Tip, End: ended.End})
	case errors.As(err, &forked):
		r.over(r, nil)
		r.trouble(ctx, err)
		r.cfg.Post(ha.StreamForked{Source: r.name, ID: r.id, Tip: forked.Tip, Incarnation: forked.Incarnation})
	case errors.Is(err, source.ErrGap):
		return r.giveUp(ctx, err)
	default:
		return false
	}
	return true
}

// giveUp closes a stream whose log the source does not have any more: the next one
// begins anew.
func (r *run) giveUp(ctx context.Context, why error) bool {
	end := stream.End{By: r.cfg.Incarnation}
	err := r.passOver(ctx)
	if err == nil {
		err = r.append(ctx, stream.Part{To: r.reached().To, End: &end})
	}
	if err != nil {
		return !errors.Is(err, source.ErrGap) && r.isOver(ctx, err)
	}
	tip := r.reached()
	r.counts.gaps.Add(1)
	r.over(r, nil)
	r.lacks()
	r.cfg.Log.Note(ctx, event.Alarm, kind, fmt.Sprintf("the log of %s has a gap behind %s UTC: %v; a new stream begins, and replicas are built anew", r.name, tip.Time.UTC().Format(time.DateTime), why), map[string]any{"source": r.name})
	r.cfg.Post(ha.StreamClosed{Source: r.name, ID: r.id, Tip: tip, End: end})
	return true
}

// passOver goes to the end of what an earlier process has shipped: the source's own log, by
// which that would be adopted, is gone.
func (r *run) passOver(ctx context.Context) error {
	for {
		p, tip, err := r.cfg.Chain.Read(ctx, r.name, r.id, r.reached())
		switch {
		case errors.Is(err, stream.ErrNotYet):
			return nil
		case err != nil:
			return fmt.Errorf("look for the end of stream %s: %w", r.id, err)
		case p.End != nil:
			return &stream.EndedError{Source: r.name, Stream: r.id, Tip: tip, End: *p.End}
		}
		r.reach(tip)
	}
}

// reached is the newest part that is known to be there.
func (r *run) reached() stream.Tip {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tip
}

func (r *run) reach(tip stream.Tip) {
	now := r.cfg.Clock.Now().Mono
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tip, r.reading.reached = tip, now
}

// ship ships from the newest part that is known, until something is in the way, or the
// stream is closed as was asked (nil).
func (r *run) ship(ctx context.Context) error {
	from := r.reached().To
	log, err := r.from.OpenLog(ctx, &from)
	if err != nil {
		return err
	}
	at, begin := log.Begin()
	if at != from {
		return errors.Join(fmt.Errorf("the log of %s goes on at position %d, and the stream at %d", r.name, at, from), source.ErrGap, log.Close())
	}
	o := read(ctx, log, from, r.cfg.Clock)
	r.begins(o)
	err = r.pass(ctx, log, begin, o)
	o.end()
	r.ends()
	return errors.Join(err, log.Close())
}

// pass appends what is read of the log, a part at a time.
func (r *run) pass(ctx context.Context, log source.Log, begin json.RawMessage, o *own) error {
	if err := r.confirm(ctx, log); err != nil {
		return err
	}
	hurry := r.hurry
	for {
		why, err := o.gather(ctx, r.wait, hurry, r.beat)
		switch {
		case err != nil:
			return err
		case why == isHurried:
			hurry = nil // whatever comes now is shipped at once: wait says so
		case why == isIdle:
			if err := r.lookForEnd(ctx); err != nil {
				return err
			}
			if err := r.goesOn(ctx, log); err != nil {
				return err
			}
		case why == isDue:
			r.isLive()
		}
		if len(o.buf) > 0 {
			r.sync.wait()
		}
		for len(o.buf) > 0 {
			if err := r.appendOwn(ctx, log, begin, o); err != nil {
				return err
			}
		}
		if why != isEnded {
			continue
		}
		if !o.hasEnded() {
			return o.err
		}
		return r.atEnd(ctx, begin)
	}
}

// wait is how long what is there waits for more.
func (r *run) wait() time.Duration {
	select {
	case <-r.hurry:
		return 0
	default:
		if r.sync != nil {
			return 0 // what commits while a part is under way is the next one
		}
		return max(gather, r.shipped+r.cfg.Every-r.cfg.Clock.Now().Mono)
	}
}

// gather is for how long what comes after a quiet time waits for more: a transaction is
// written in several pieces.
const gather = 20 * time.Millisecond

// appendOwn appends what is there, or adopts what an earlier process has appended of it.
func (r *run) appendOwn(ctx context.Context, log source.Log, begin json.RawMessage, o *own) error {
	err := r.append(ctx, stream.Part{To: o.to, Time: o.at, Begin: begin, Log: o.buf})
	if ahead := (*stream.AheadError)(nil); errors.As(err, &ahead) {
		return o.reach(ctx, ahead.Part.To) // then it is compared once more
	}
	if err != nil {
		return err
	}
	r.counts.parts.Add(1)
	r.counts.bytes.Add(int64(o.took(r.reached().To)))
	if err := r.confirm(ctx, log); err != nil {
		return err
	}
	r.cfg.Post(ha.Shipped{Source: r.name, ID: r.id, Tip: r.reached()})
	r.isOverTrouble(ctx)
	return nil
}

// lookForEnd looks whether an idle stream was ended, so that its next write does not meet
// a stale end.
func (r *run) lookForEnd(ctx context.Context) error {
	p, tip, err := r.cfg.Chain.Read(ctx, r.name, r.id, r.reached())
	switch {
	case errors.Is(err, stream.ErrNotYet):
	case err != nil:
		return fmt.Errorf("look for the end of stream %s: %w", r.id, err)
	case p.End != nil:
		return &stream.EndedError{Source: r.name, Stream: r.id, Tip: tip, End: *p.End}
	}
	return nil
}

// atEnd closes the stream of a log that has ended, if that was asked for.
func (r *run) atEnd(ctx context.Context, begin json.RawMessage) error {
	select {
	case <-r.hurry:
	default:
		return errors.New("its server has stopped")
	}
	end := r.closing.end
	if err := r.append(ctx, stream.Part{To: r.reached().To, Begin: begin, End: &end}); err != nil {
		return err
	}
	r.closing.tip <- r.reached()
	return nil
}

// append appends a part, while a head of this process is confirmed.
func (r *run) append(ctx context.Context, p stream.Part) error {
	if err := r.gate.pass(ctx); err != nil {
		return err
	}
	after := r.reached()
	p.Source, p.Stream, p.Incarnation = r.name, r.id, r.cfg.Incarnation
	if p.Time.IsZero() {
		p.Time = r.cfg.Clock.Now().Wall
	}
	r.shipped = r.cfg.Clock.Now().Mono // not when it is there: a slow bucket is not waited for twice
	tip, err := r.cfg.Chain.Append(ctx, after, p)
	if err != nil {
		return err
	}
	r.reach(tip)
	return nil
}

// based says whether a backup leads up to the stream.
func (r *run) based(is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unbased = !is
}

func (r *run) isBased() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.unbased
}

// confirm tells the source how much is in the bucket, once a head of this process is
// known to be in force: names of parts expire, and a process that has slept for so long
// would take the place of an end part for a success. That is looked at behind the answer of
// the bucket: how long the source takes then does not matter.
func (r *run) confirm(ctx context.Context, log source.Log) error {
	if !r.isBased() {
		r.sync.answered()
		return nil
	}
	to := r.reached().To
	if err := r.gate.pass(ctx); err != nil {
		return err
	}
	if err := log.Confirm(to); err != nil {
		return fmt.Errorf("confirm what was shipped: %w", err)
	}
	r.mu.Lock()
	r.confirmed = to
	r.mu.Unlock()
	return r.sync.confirmed(ctx)
}

// close has the run ship at once from now on, and close the stream when the log ends.
func (r *run) close(c *closing) {
	r.closing = c
	close(r.hurry)
}

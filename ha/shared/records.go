package shared

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
)

// Records are what the other instances last said of themselves. They are for
// people and for notifications; nothing is decided by them. They are safe for
// concurrent use.
type Records struct {
	control *control.Store
	clock   clock.Clock
	head    func() *ha.Head // as last seen
	kick    chan struct{}   // somebody looks, or a record has changed

	mu   sync.Mutex
	last Reading
}

// Reading is what one reading of the records has found. Whatever is said of the
// instances is judged as of when it began: a record that was fresh then has only
// grown old since because nobody has looked. Nothing is found while Began is
// zero: nobody has looked yet.
type Reading struct {
	Rows  map[string]Row
	Began time.Time     // by the store's clock
	mono  time.Duration // the same on this host's clock
	Head  *ha.Head      // as it was known then; nil: it was not
}

// looked reports whether there was a reading at all.
func (r Reading) looked() bool { return !r.Began.IsZero() }

// Row is one record.
type Row struct {
	Record *ha.Instance // nil: it cannot be verified
	Attrs  blobstore.Attrs
	Err    error // the record cannot be verified
}

// NewRecords reads them by a control store. head is the head as last seen.
func NewRecords(b *control.Store, clock clock.Clock, head func() *ha.Head) *Records {
	return &Records{control: b, clock: clock, head: head, kick: make(chan struct{}, 1)}
}

// Refresh reads the records that have changed.
func (r *Records) Refresh(ctx context.Context) error {
	now := Reading{Began: r.control.Time(), mono: r.clock.Now().Mono, Head: r.head()}
	listed, names, err := r.control.List(ctx, ha.InstancesPrefix)
	if err != nil {
		return err
	}
	old := r.Reading().Rows
	found := make([]*Row, len(names))
	err = control.InParallel(ctx, len(names), func(i int) (err error) {
		found[i], err = r.row(ctx, listed[i], old[names[i]])
		return err
	})
	if err != nil {
		return err
	}
	rows := make(map[string]Row, len(names))
	for i, row := range found {
		if row != nil {
			rows[names[i]] = *row
		}
	}
	now.Rows = rows
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.mono >= r.last.mono { // one that began later may have ended sooner
		r.last = now
	}
	return nil
}

// row reads a record that was listed, if it is not what is had of it; nil: it is gone.
func (r *Records) row(ctx context.Context, listed blobstore.Attrs, have Row) (*Row, error) {
	if have.Attrs.Token == listed.Token && have.Attrs.Token != "" {
		return &have, nil
	}
	object, attrs, err := r.control.Read(ctx, ha.KindInstance, listed.Key, have.Attrs.Token)
	switch {
	case err == nil:
		return &Row{Record: object.(*ha.Instance), Attrs: attrs}, nil
	case errors.Is(err, blobstore.ErrNotModified):
		return &have, nil
	case errors.Is(err, control.ErrUnverified):
		return &Row{Attrs: listed, Err: err}, nil
	case errors.Is(err, blobstore.ErrNotFound):
		return nil, nil //nolint:nilnil // there is none
	}
	return nil, err
}

// Reading returns the last one.
func (r *Records) Reading() Reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// Age is how old the table is, in seconds; negative: nobody has looked yet.
func (r *Records) Age() float64 {
	last := r.Reading()
	if !last.looked() {
		return -1
	}
	return (r.clock.Now().Mono - last.mono).Seconds()
}

// Look has the table read again soon if what it knows is older than this.
func (r *Records) Look(older time.Duration) {
	if last := r.Reading(); !last.looked() || r.clock.Now().Mono-last.mono >= older {
		r.Stir()
	}
}

// Stir has the table read again soon.
func (r *Records) Stir() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Stirred hears that it is to be read again soon.
func (r *Records) Stirred() <-chan struct{} { return r.kick }

package agent

import (
	"context"
	"errors"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
)

// bucket reads and writes what the machine asks for, once the bucket may be used under
// this instance's name.
type bucket struct {
	admission interface {
		Await(ctx context.Context) error
	}
	control   *control.Store
	store     blobstore.Store
	tellLease func(ctx context.Context, err error) // of a look at the lease
}

// read reads a control object.
func (b *bucket) read(ctx context.Context, e ha.Read) ha.Done {
	if err := b.admission.Await(ctx); err != nil {
		return ha.Done{Outcome: ha.Unknown, Err: err}
	}
	object, attrs, err := b.control.Read(ctx, e.Kind, e.Key, e.IfChanged)
	if e.Kind == ha.KindLease {
		b.tellLease(ctx, err)
	}
	return ha.Done{Outcome: control.ReadOutcome(err), Object: object, Token: attrs.Token, Err: err}
}

// find looks whether a backup's manifest is there.
func (b *bucket) find(ctx context.Context, ref backup.Ref) ha.Done {
	if err := b.admission.Await(ctx); err != nil {
		return ha.Done{Outcome: ha.Unknown, Err: err}
	}
	_, err := b.store.Stat(ctx, ref.Key)
	return ha.Done{Outcome: control.ReadOutcome(err), Err: err}
}

// write writes a control object. An outcome that is not known is never said to be a
// failure: the machine looks what came of it.
func (b *bucket) write(ctx context.Context, e ha.Write) ha.Done {
	if err := b.admission.Await(ctx); err != nil {
		return ha.Done{Outcome: ha.Unknown, Err: err}
	}
	token, err := b.control.Write(ctx, e.Kind, e.Key, e.Object, e.Cond)
	switch {
	case err == nil:
		return ha.Done{Token: token}
	case errors.Is(err, blobstore.ErrPrecondition):
		return ha.Done{Outcome: ha.Lost, Err: err}
	case wroteNothing(err):
		return ha.Done{Outcome: ha.Failed, Err: err}
	}
	return ha.Done{Outcome: ha.Unknown, Err: err}
}

// wroteNothing reports whether a conditional write that failed has written
// nothing, and never will: that is what a store means by every kind of error but
// one.
func wroteNothing(err error) bool {
	store := (*blobstore.Error)(nil)
	return errors.As(err, &store) && !errors.Is(err, blobstore.ErrUnknownOutcome)
}

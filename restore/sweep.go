package restore

import (
	"context"
	"errors"

	"github.com/understudy-ha/understudy/backup/source"
)

// Sweep deletes what Rollback, Drop, Finish and Stage have set aside, as far as
// it can be deleted, and returns what is left. It may run beside everything else
// that the Swapper does. With a context of Polite, it takes low priority. One
// source's failure keeps no other from being swept.
func (s *Swapper) Sweep(ctx context.Context) ([]source.Leftover, error) {
	var all []source.Leftover
	var errs []error
	for _, src := range s.sources {
		left, err := swept(ctx, src)
		all, errs = append(all, left...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

func swept(ctx context.Context, src source.Source) ([]source.Leftover, error) {
	sweeper, ok := src.(source.Sweeper)
	if !ok {
		return nil, nil
	}
	return sweeper.Sweep(ctx)
}

// freed makes the room free that a source's stage takes. What cannot be deleted
// shows in the next Sweep.
func freed(ctx context.Context, src source.Source) error {
	if err := src.SwapBack(ctx); err != nil {
		return err
	}
	_, err := swept(ctx, src)
	return err
}

package sample

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// lifelineLook is how often the lifeline is looked at.
const lifelineLook = 100 * time.Millisecond

var errLifeline = errors.New("who started the application is gone")

// lifeline is a file that whoever started the application holds locked; "" for
// none. The kernel frees a lock when its holder is gone, however it went, so
// that nothing that was started for a show outlives it.
type lifeline string

// check returns errLifeline when nobody holds the lock.
func (l lifeline) check() error {
	if l == "" {
		return nil
	}
	return l.gone(l.file().TryRLock())
}

// watch returns errLifeline when nobody holds the lock any more, and nil when
// ctx ends.
func (l lifeline) watch(ctx context.Context) error {
	err := l.gone(l.file().TryRLockContext(ctx, lifelineLook))
	if errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (l lifeline) file() *flock.Flock { return flock.New(string(l), flock.SetFlag(os.O_RDONLY)) }

// gone reads what an attempt to share the lock came to. A share is kept: this
// process ends soon.
func (l lifeline) gone(free bool, err error) error {
	switch {
	case free, errors.Is(err, os.ErrNotExist):
		return errLifeline
	case err != nil:
		return fmt.Errorf("watch lifeline: %w", err)
	}
	return nil
}

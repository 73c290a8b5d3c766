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

// watchLifeline returns errLifeline when nobody holds the file at path locked
// any more, and nil when ctx ends. The kernel frees a lock when its holder is
// gone, however it went, so that nothing that was started for a show outlives
// it.
func watchLifeline(ctx context.Context, path string) error {
	l := flock.New(path, flock.SetFlag(os.O_RDONLY))
	free, err := l.TryRLockContext(ctx, lifelineLook)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errLifeline
	case free:
		_ = l.Unlock() // this process ends, and its locks with it
		return errLifeline
	case errors.Is(err, ctx.Err()):
		return nil
	}
	return fmt.Errorf("watch lifeline: %w", err)
}

package restore

import (
	"context"
	"fmt"
	"os"

	"github.com/understudy-ha/understudy/backup/source"
)

// Purge deletes all that was ever staged or set aside here, and the journal: for an
// instance that leaves its cluster. What is left it returns, with the reason, and
// the journal stays then: Purge may be run again. One source's failure keeps no
// other from being purged. While a swap is unfinished it is ErrState.
func (s *Swapper) Purge(ctx context.Context) ([]source.Leftover, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.journal.read()
	if err == nil && j.State.replaced() {
		err = fmt.Errorf("%w: %s has to be rolled back or finished first", ErrState, j.unfinished())
	}
	if err == nil {
		err = s.set.unheard(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("delete what is staged: %w", err)
	}
	left := s.set.purge(ctx, j)
	if err := ctx.Err(); err != nil {
		return left, err
	}
	swept, err := s.Sweep(ctx)
	left = append(left, swept...)
	if err != nil {
		left = append(left, source.Leftover{Path: "what was set aside", Bytes: -1, Reason: err.Error()})
	}
	if len(left) > 0 {
		return left, nil
	}
	return nil, os.RemoveAll(s.journal.dir)
}

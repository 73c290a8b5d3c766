package restore

import (
	"context"
	"errors"

	"github.com/understudy-ha/understudy/backup/source"
)

// ErrVolume means that a source does not lie on the file system on which it lay
// before. Nothing was changed there: what is staged, replaced or live on the
// other one is out of sight.
var ErrVolume = errors.New("not the file system that it was on")

// checkVolume fails where a source must not be changed.
func (s *Swapper) checkVolume(ctx context.Context, src source.Source) error {
	if s.Volume == nil {
		return nil
	}
	return s.Volume(ctx, src)
}

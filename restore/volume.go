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

// checkVolumes fails where a source must not be changed.
func (s *Swapper) checkVolumes(ctx context.Context, sources []source.Source) error {
	if s.Volume == nil {
		return nil
	}
	errs := make([]error, len(sources))
	for i, src := range sources {
		errs[i] = s.Volume(ctx, src)
	}
	return errors.Join(errs...)
}

// onVolume is do for a source that has something which was replaced, or may.
func (s *Swapper) onVolume(ctx context.Context, verb string, src source.Source, step func() error) error {
	return s.do(verb, src, func() error {
		if err := s.checkVolumes(ctx, []source.Source{src}); err != nil {
			return err
		}
		return step()
	})
}

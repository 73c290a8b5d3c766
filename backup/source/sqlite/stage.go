package sqlite

import (
	"context"

	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/reread"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
	"github.com/understudy-ha/understudy/backup/source/volume"
)

// Reach implements Restorer.
func (s *Source) Reach(context.Context) (reach source.Reach, err error) {
	err = s.do("look how far the swap has come of", func(at *swap.File) error {
		reach, err = at.Reach()
		return err
	})
	return reach, err
}

// Keep implements Restorer.
func (s *Source) Keep(context.Context) (kept string, err error) {
	err = s.do("keep what was replaced of", func(at *swap.File) error {
		kept, err = at.Keep()
		return err
	})
	return kept, err
}

// Live implements Openable.
func (s *Source) Live() (places []holder.Place, err error) {
	err = s.do("find", func(at *swap.File) error {
		places = at.Places(at.Name)
		return nil
	})
	return places, err
}

// Replaced implements Openable.
func (s *Source) Replaced() (places []holder.Place, err error) {
	err = s.do("find", func(at *swap.File) error {
		places = at.Places(at.Replaced())
		return nil
	})
	return places, err
}

// Volumes implements source.Voluminous.
func (s *Source) Volumes() ([]volume.Volume, error) { return volume.OfFile(s.cfg.Path) }

// OpenStaged implements Rereader.
func (s *Source) OpenStaged(e source.Entry) (content source.StagedContent, err error) {
	err = s.do("open the stage of", func(at *swap.File) error {
		content, err = reread.Open(at.Beside(at.Staged()), e)
		return err
	})
	return content, err
}

// Distrust implements Rereader: the file is set aside.
func (s *Source) Distrust(ctx context.Context, r *pack.Reader, e source.Entry, spot source.Spot) (bad bool, err error) {
	err = s.do("read the stage of", func(at *swap.File) error {
		bad, err = at.Distrust(ctx, r, e, spot)
		return err
	})
	return bad, err
}

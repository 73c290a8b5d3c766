package source

import (
	"context"

	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/pack"
)

// Reach implements Restorer.
func (s *SQLite) Reach(context.Context) (reach Reach, err error) {
	err = s.do("look how far the swap has come of", func(at *sqliteSite) error {
		reach, err = at.reach()
		return err
	})
	return reach, err
}

// Keep implements Restorer.
func (s *SQLite) Keep(context.Context) (kept string, err error) {
	err = s.do("keep what was replaced of", func(at *sqliteSite) error {
		kept, err = at.keep()
		return err
	})
	return kept, err
}

// Live implements Openable.
func (s *SQLite) Live() (places []holder.Place, err error) {
	err = s.do("find", func(at *sqliteSite) error {
		places = at.places(at.Name)
		return nil
	})
	return places, err
}

// Replaced implements Openable.
func (s *SQLite) Replaced() (places []holder.Place, err error) {
	err = s.do("find", func(at *sqliteSite) error {
		places = at.places(at.replaced())
		return nil
	})
	return places, err
}

// Volumes implements source.Voluminous.
func (s *SQLite) Volumes() ([]Volume, error) { return fileVolumes(s.cfg.Path) }

// OpenStaged implements Rereader.
func (s *SQLite) OpenStaged(e Entry) (content StagedContent, err error) {
	err = s.do("open the stage of", func(at *sqliteSite) error {
		content, err = openStagedFile(at.Beside(at.staged()), e)
		return err
	})
	return content, err
}

// Distrust implements Rereader: the file is set aside.
func (s *SQLite) Distrust(ctx context.Context, r *pack.Reader, e Entry, spot Spot) (bad bool, err error) {
	err = s.do("read the stage of", func(at *sqliteSite) error {
		bad, err = at.distrust(ctx, r, e, spot)
		return err
	})
	return bad, err
}

package source

import (
	"context"

	"github.com/understudy-ha/understudy/backup/pack"
)

// Reach implements Restorer.
func (s *File) Reach(context.Context) (reach Reach, err error) {
	err = s.do("look how far the swap has come of", func(at *sqliteSite) error {
		reach, err = at.reach()
		return err
	})
	return reach, err
}

// Keep implements Restorer.
func (s *File) Keep(context.Context) (kept string, err error) {
	err = s.do("keep what was replaced of", func(at *sqliteSite) error {
		kept, err = at.keep()
		return err
	})
	return kept, err
}

// OpenStaged implements Rereader.
func (s *File) OpenStaged(e Entry) (content StagedContent, err error) {
	err = s.do("open the stage of", func(at *sqliteSite) error {
		content, err = openStagedFile(at.Beside(at.staged()), e)
		return err
	})
	return content, err
}

// Distrust implements Rereader: the file is set aside.
func (s *File) Distrust(ctx context.Context, r *pack.Reader, e Entry, spot Spot) (bad bool, err error) {
	err = s.do("read the stage of", func(at *sqliteSite) error {
		bad, err = at.distrust(ctx, r, e, spot)
		return err
	})
	return bad, err
}

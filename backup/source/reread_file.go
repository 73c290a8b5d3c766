package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
)

// stagedFile is the content of a stage that is one file.
type stagedFile struct{ portion }

func openStagedFile(at fsx.Place, e Entry) (*stagedFile, error) {
	f, err := at.Open()
	if err != nil {
		return nil, err
	}
	return &stagedFile{portion{file: f, data: []Extent{{0, e.Root.Size}}, stream: e.Root}}, nil
}

// Close implements StagedContent.
func (f *stagedFile) Close() error { return f.close() }

// Read implements StagedContent.
func (f *stagedFile) Read(ctx context.Context, r *pack.Reader, from Spot, budget int64) (p Passage, err error) {
	if from.Offset == pastEnd {
		return Passage{Ended: true}, nil
	}
	next, ended, same, err := f.read(ctx, r, from.Offset, budget)
	p = Passage{Next: Spot{Offset: next}, Ended: ended}
	p.count(next - from.Offset)
	switch {
	case err != nil:
	case !same:
		p.Bad = &Spot{Offset: next}
	case ended:
		p.Next, p.Files = Spot{}, 1
	}
	return p, err
}

// distrustFile reads a staged file again, and has it set aside if it is bad.
func distrustFile(ctx context.Context, r *pack.Reader, at fsx.Place, e Entry, spot Spot, aside func() error) (bad bool, err error) {
	f, err := openStagedFile(at, e)
	if err != nil {
		return false, err
	}
	_, _, same, err := f.read(ctx, r, spot.Offset, 1)
	if err = errors.Join(err, f.Close()); err != nil || same {
		return false, err
	}
	return true, aside()
}

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

func (s *sqliteSite) distrust(ctx context.Context, r *pack.Reader, e Entry, spot Spot) (bad bool, err error) {
	return distrustFile(ctx, r, s.Beside(s.staged()), e, spot, func() error {
		return s.dropped().addFiles(append(s.withSides(s.staged()), s.staged())...)
	})
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

// OpenStaged implements Rereader.
func (c *Command) OpenStaged(e Entry) (content StagedContent, err error) {
	err = atPlace(c.Staged(), func(p fsx.Place) error {
		content, err = openStagedFile(p, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the stage of %s: %w", c.name, err)
	}
	return content, nil
}

// Distrust implements Rereader: the file is set aside.
func (c *Command) Distrust(ctx context.Context, r *pack.Reader, e Entry, spot Spot) (bool, error) {
	var bad bool
	err := atPlace(c.Staged(), func(p fsx.Place) (err error) {
		bad, err = distrustFile(ctx, r, p, e, spot, func() error { return asides{p.Dir, "dropped"}.addFiles(p.Name) })
		return err
	})
	if err != nil {
		return bad, fmt.Errorf("read the stage of %s: %w", c.name, err)
	}
	return bad, nil
}

package source

import (
	"context"
	"errors"

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
	return &stagedFile{portion{file: f, data: []Extent{{Offset: 0, Length: e.Root.Size}}, stream: e.Root}}, nil
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
	countPassage(&p, next-from.Offset)
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

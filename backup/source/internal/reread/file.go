// Package reread reads staged files again, and compares them with the chunks of a dump.
package reread

import (
	"context"
	"errors"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// File is the content of a stage that is one file.
type File struct{ Portion }

// Open opens the staged file of e.
func Open(at fsx.Place, e source.Entry) (*File, error) {
	f, err := at.Open()
	if err != nil {
		return nil, err
	}
	return &File{Portion{File: f, Data: []tree.Extent{{Offset: 0, Length: e.Root.Size}}, Stream: e.Root}}, nil
}

// Read implements StagedContent.
func (f *File) Read(ctx context.Context, r *pack.Reader, from source.Spot, budget int64) (p source.Passage, err error) {
	if from.Offset == source.PastEnd {
		return source.Passage{Ended: true}, nil
	}
	next, ended, same, err := f.Compare(ctx, r, from.Offset, budget)
	p = source.Passage{Next: source.Spot{Offset: next}, Ended: ended}
	Count(&p, next-from.Offset)
	switch {
	case err != nil:
	case !same:
		p.Bad = &source.Spot{Offset: next}
	case ended:
		p.Next, p.Files = source.Spot{}, 1
	}
	return p, err
}

// Distrust reads a staged file again, and has it set aside if it is bad.
func Distrust(ctx context.Context, r *pack.Reader, at fsx.Place, e source.Entry, spot source.Spot, aside func() error) (bad bool, err error) {
	f, err := Open(at, e)
	if err != nil {
		return false, err
	}
	_, _, same, err := f.Compare(ctx, r, spot.Offset, 1)
	if err = errors.Join(err, f.Close()); err != nil || same {
		return false, err
	}
	return true, aside()
}

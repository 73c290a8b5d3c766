package swap

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/reread"
	"github.com/understudy-ha/understudy/backup/source/volume"
)

// Single is what the kinds share whose source is one file: all of a swap but the dump
// and the making of the stage. It finds the file anew each time, wherever links lead.
type Single struct {
	Called string // the source's name
	Path   string // the file, or a link to it
	Sides  []string
	// Fault, in tests, stops the swap after the named step.
	Fault func(step string) error
}

// Do does something where the path leads now.
func (s *Single) Do(verb string, what func(*File) error) error {
	err := fsx.At(s.Path, func(p fsx.Place) error { return what(&File{Place: p, Sides: s.Sides, Fault: s.Fault}) })
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, s.Called, err)
	}
	return nil
}

// learn is Do for what returns something.
func learn[T any](s *Single, verb string, what func(*File) (T, error)) (got T, err error) {
	err = s.Do(verb, func(at *File) error {
		got, err = what(at)
		return err
	})
	return got, err
}

// Name implements Source.
func (s *Single) Name() string { return s.Called }

// Place implements Placed.
func (s *Single) Place() (string, error) { return fsx.RealPath(s.Path) }

// Staged is the path of the staged file.
func (s *Single) Staged() string { return Besides(fsx.RealPathOr(s.Path), "staged") }

// Space implements Restorer.
func (s *Single) Space(e source.Entry) (string, int64) {
	return filepath.Dir(fsx.RealPathOr(s.Path)), e.Size // Stage reports a path that leads nowhere
}

// Fingerprint implements Restorer.
func (s *Single) Fingerprint(context.Context) (string, error) {
	return learn(s, "look at the stage of", (*File).Fingerprint)
}

// Swap implements Restorer.
func (s *Single) Swap(context.Context) error { return s.Do("swap", (*File).Swap) }

// SwapBack implements Restorer.
func (s *Single) SwapBack(context.Context) error { return s.Do("swap back", (*File).SwapBack) }

// Discard implements Restorer.
func (s *Single) Discard(context.Context) error { return s.Do("discard", (*File).Discard) }

// Reach implements Restorer.
func (s *Single) Reach(context.Context) (source.Reach, error) {
	return learn(s, "look how far the swap has come of", (*File).Reach)
}

// Keep implements Restorer.
func (s *Single) Keep(context.Context) (string, error) {
	return learn(s, "keep what was replaced of", (*File).Keep)
}

// Sweep implements Sweeper.
func (s *Single) Sweep(ctx context.Context) ([]source.Leftover, error) {
	return learn(s, "delete what is left of", func(at *File) ([]source.Leftover, error) { return at.Dropped().Sweep(ctx) })
}

// Live implements Openable.
func (s *Single) Live() ([]holder.Place, error) {
	return learn(s, "find", func(at *File) ([]holder.Place, error) { return at.Places(at.Name), nil })
}

// Replaced implements Openable.
func (s *Single) Replaced() ([]holder.Place, error) {
	return learn(s, "find", func(at *File) ([]holder.Place, error) { return at.Places(at.Replaced()), nil })
}

// Volumes implements source.Voluminous.
func (s *Single) Volumes() ([]volume.Volume, error) { return volume.OfFile(s.Path) }

// OpenStaged implements Rereader.
func (s *Single) OpenStaged(e source.Entry) (source.StagedContent, error) {
	return learn(s, "open the stage of", func(at *File) (source.StagedContent, error) {
		return reread.Open(at.Beside(at.Staged()), e)
	})
}

// Distrust implements Rereader: the file is set aside.
func (s *Single) Distrust(ctx context.Context, r *pack.Reader, e source.Entry, spot source.Spot) (bad bool, err error) {
	return learn(s, "read the stage of", func(at *File) (bool, error) { return at.Distrust(ctx, r, e, spot) })
}

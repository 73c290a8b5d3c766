package source

import (
	"context"
	"errors"
	"slices"
)

// Shut is a Restorer whose stage nobody can look into, or write to, unless it is
// opened for a while.
type Shut interface {
	// OpenStage opens the stage.
	OpenStage(ctx context.Context) error
	// CloseStage closes it, having ended whoever is in it. It is ErrWritten when
	// somebody wrote to it meanwhile: the stage counts as damaged then.
	CloseStage(ctx context.Context) error
}

// ErrWritten means that somebody wrote to a stage while it was open.
var ErrWritten = errors.New("somebody wrote to the stage")

// Opened calls do while the stages of sources are open. They are closed when ctx
// has ended, too.
func Opened(ctx context.Context, sources []Source, do func() error) (err error) {
	var open []Shut
	defer func() {
		for _, s := range slices.Backward(open) {
			err = errors.Join(err, s.CloseStage(context.WithoutCancel(ctx)))
		}
	}()
	for _, src := range sources {
		s, ok := src.(Shut)
		if !ok {
			continue
		}
		if err := s.OpenStage(ctx); err != nil {
			return err
		}
		open = append(open, s)
	}
	return do()
}

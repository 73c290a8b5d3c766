package restore

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/understudy-ha/understudy/backup/source"
)

// Purge deletes all that was ever staged or set aside here, and the journal: for an
// instance that leaves its cluster. What is left it returns, with the reason, and
// the journal stays then: Purge may be run again. One source's failure keeps no
// other from being purged. While a swap is unfinished it is ErrState.
func (s *Swapper) Purge(ctx context.Context) ([]source.Leftover, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.read()
	if err == nil && j.State.replaced() {
		err = fmt.Errorf("%w: %s has to be rolled back or finished first", ErrState, s.unfinished(j))
	}
	if err == nil {
		err = s.unheard(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("delete what is staged: %w", err)
	}
	left := s.purgeSources(ctx, j)
	if err := ctx.Err(); err != nil {
		return left, err
	}
	swept, err := s.Sweep(ctx)
	left = append(left, swept...)
	if err != nil {
		left = append(left, source.Leftover{Path: "what was set aside", Bytes: -1, Reason: err.Error()})
	}
	if len(left) > 0 {
		return left, nil
	}
	return nil, os.RemoveAll(s.dir)
}

// purgeSources sets aside what every source has staged, wherever that is.
func (s *Swapper) purgeSources(ctx context.Context, j journal) (left []source.Leftover) {
	configured := make(map[journalSource]bool)
	for i, src := range s.sources {
		configured[journalSource{src.Kind(), src.Name()}] = true
		err := s.do("swap back", src, func() error { return src.SwapBack(ctx) })
		if was := j.placed(s.sources)[i]; placeOf(was) != placeOf(src) {
			err = errors.Join(err, s.do("swap back", was, func() error { return was.SwapBack(ctx) }))
		}
		if err != nil {
			left = append(left, source.Leftover{Path: "what is staged of " + src.Kind() + " " + src.Name(), Bytes: -1, Reason: err.Error()})
		}
	}
	for _, stage := range append(sourcesOf(j.Stages), j.Sources...) {
		if configured[stage] {
			continue
		}
		configured[stage] = true // once
		path := "what is staged of " + stage.String()
		if place := j.Places[stage.Name]; place != "" {
			path += ", beside " + place
		}
		left = append(left, source.Leftover{Path: path, Bytes: -1, Reason: "the source is not configured here any more"})
	}
	return left
}

func sourcesOf(stages []sealed) []journalSource {
	var all []journalSource
	for _, s := range stages {
		all = append(all, s.Source)
	}
	return all
}

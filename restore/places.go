package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/backup/source"
)

// placed are the sources, each at the place at which the journal began: no
// matter where the links in its path lead by now.
func (j *journal) placed(sources []source.Source) []source.Source {
	all := make([]source.Source, len(sources))
	for i, src := range sources {
		all[i] = src
		p, ok := src.(source.Placed)
		if place := j.Places[src.Name()]; ok && place != "" {
			all[i] = p.At(place)
		}
	}
	return all
}

// outerFirst are the placed sources in the order of a swap: one that lies in
// another one is brought along by that one, and is swapped after it.
func (j *journal) outerFirst(sources []source.Source) []source.Source {
	all := j.placed(sources)
	depth := make(map[source.Source]int)
	for _, src := range all {
		for _, other := range all {
			if inner, outer := placeOf(src), placeOf(other); inner != "" && strings.HasPrefix(inner, outer+"/") && outer != "" {
				depth[src]++
			}
		}
	}
	slices.SortStableFunc(all, func(a, b source.Source) int { return depth[a] - depth[b] })
	return all
}

// moved tells whether a source's path leads elsewhere than when this began.
func (j *journal) moved(src source.Source) (bool, error) {
	p, ok := src.(source.Placed)
	began := j.Places[src.Name()]
	if !ok || began == "" {
		return false, nil
	}
	now, err := p.Place()
	if err != nil {
		return false, fmt.Errorf("find where %s lies: %w", src.Name(), err)
	}
	return now != began, nil
}

// settlePlaces notes where the sources' paths lead now. What a source has staged
// at an earlier place is dropped: nobody would find it again.
func (s *stager) settlePlaces(ctx context.Context, j *journal, before journal) error {
	j.Places = make(map[string]string)
	for _, src := range s.set.all {
		p, ok := src.(source.Placed)
		if !ok {
			continue
		}
		place, err := p.Place()
		if err != nil {
			return fmt.Errorf("find where %s lies: %w", src.Name(), err)
		}
		if err := s.set.abandon(ctx, before, src); err != nil {
			return err
		}
		j.Places[src.Name()] = place
	}
	return nil
}

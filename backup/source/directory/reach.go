package directory

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// Reach implements Restorer.
func (d *Source) Reach(context.Context) (reach source.Reach, err error) {
	err = d.do(func(p placement) error {
		begun, err := p.at().exists(p.at().note)
		if err != nil {
			return err
		}
		if begun {
			reach = source.ReachBegun
			swapped, err := p.swapped()
			if swapped {
				reach = source.ReachPlaced
			}
			return err
		}
		staged, err := p.at().exists(p.at().staged)
		if staged {
			reach = source.ReachStaged
		}
		return err
	})
	if err != nil {
		return reach, fmt.Errorf("look how far the swap of %s has come: %w", d.name, err)
	}
	return reach, nil
}

// Keep implements Restorer.
func (d *Source) Keep(context.Context) (kept string, err error) {
	err = d.do(func(p placement) error {
		kept, err = p.at().keepReplaced()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("keep what was replaced of %s: %w", d.name, err)
	}
	return kept, nil
}

// keepReplaced renames what was replaced.
func (s *stagePaths) keepReplaced() (string, error) {
	there, err := s.exists(s.replaced)
	if err != nil || !there {
		return "", err
	}
	to, err := swap.FreeName(s.in, s.kept)
	if err != nil {
		return "", err
	}
	return s.path(to), s.move("keep for good", s.replaced, to)
}

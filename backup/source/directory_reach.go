package source

import (
	"context"
	"fmt"
)

// Reach implements Restorer.
func (d *Directory) Reach(context.Context) (reach Reach, err error) {
	err = d.do(func(p placement) error {
		begun, err := p.at().exists(p.at().note)
		if err != nil {
			return err
		}
		if begun {
			reach = ReachBegun
			swapped, err := p.swapped()
			if swapped {
				reach = ReachPlaced
			}
			return err
		}
		staged, err := p.at().exists(p.at().staged)
		if staged {
			reach = ReachStaged
		}
		return err
	})
	if err != nil {
		return reach, fmt.Errorf("look how far the swap of %s has come: %w", d.name, err)
	}
	return reach, nil
}

// Keep implements Restorer.
func (d *Directory) Keep(context.Context) (kept string, err error) {
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
func (s *site) keepReplaced() (string, error) {
	there, err := s.exists(s.replaced)
	if err != nil || !there {
		return "", err
	}
	to, err := freeName(s.in, s.kept)
	if err != nil {
		return "", err
	}
	return s.path(to), s.move("keep for good", s.replaced, to)
}

package directory

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/stage"
)

// Reach implements Restorer.
func (d *Source) Reach(context.Context) (reach source.Reach, err error) {
	err = d.do(func(p stage.Placement) error {
		begun, err := p.At().Exists(p.At().Note)
		if err != nil {
			return err
		}
		if begun {
			reach = source.ReachBegun
			swapped, err := p.Swapped()
			if swapped {
				reach = source.ReachPlaced
			}
			return err
		}
		staged, err := p.At().Exists(p.At().Staged)
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
	err = d.do(func(p stage.Placement) error {
		kept, err = p.At().KeepReplaced()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("keep what was replaced of %s: %w", d.name, err)
	}
	return kept, nil
}

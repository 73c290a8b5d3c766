package command

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/reread"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// Reach implements Restorer.
func (c *Source) Reach(context.Context) (source.Reach, error) {
	var there [3]bool
	for i, path := range []string{c.Staged(), c.replaced(), c.loaded()} {
		var err error
		if there[i], err = fsx.Exists(path); err != nil {
			return source.ReachNone, fmt.Errorf("look how far the swap of %s has come: %w", c.name, err)
		}
	}
	switch staged, replaced, loaded := there[0], there[1], there[2]; {
	case loaded && replaced && !staged:
		return source.ReachPlaced, nil
	case replaced:
		return source.ReachBegun, nil
	case staged:
		return source.ReachStaged, nil
	}
	return source.ReachNone, nil
}

// Keep implements Restorer.
func (c *Source) Keep(context.Context) (string, error) {
	there, err := fsx.Exists(c.replaced())
	if err != nil || !there {
		return "", err
	}
	var kept string
	err = c.folder(func(in *fsx.Dir) error {
		to, err := swap.FreeName(in, "kept")
		if err != nil {
			return err
		}
		kept = in.Path(to)
		return in.Move(filepath.Base(c.replaced()), to)
	})
	if err != nil {
		return "", fmt.Errorf("keep what was replaced of %s: %w", c.name, err)
	}
	return kept, nil
}

// OpenStaged implements Rereader.
func (c *Source) OpenStaged(e source.Entry) (content source.StagedContent, err error) {
	err = fsx.At(c.Staged(), func(p fsx.Place) error {
		content, err = reread.Open(p, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the stage of %s: %w", c.name, err)
	}
	return content, nil
}

// Distrust implements Rereader: the file is set aside.
func (c *Source) Distrust(ctx context.Context, r *pack.Reader, e source.Entry, spot source.Spot) (bool, error) {
	var bad bool
	err := fsx.At(c.Staged(), func(p fsx.Place) (err error) {
		bad, err = reread.Distrust(ctx, r, p, e, spot, func() error { return swap.AsidesIn(p.Dir, "dropped").AddFiles(p.Name) })
		return err
	})
	if err != nil {
		return bad, fmt.Errorf("read the stage of %s: %w", c.name, err)
	}
	return bad, nil
}

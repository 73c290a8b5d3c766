package source

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
)

// Reach implements Restorer.
func (c *Command) Reach(context.Context) (Reach, error) {
	var there [3]bool
	for i, path := range []string{c.Staged(), c.replaced(), c.loaded()} {
		var err error
		if there[i], err = exists(path); err != nil {
			return ReachNone, fmt.Errorf("look how far the swap of %s has come: %w", c.name, err)
		}
	}
	switch staged, replaced, loaded := there[0], there[1], there[2]; {
	case loaded && replaced && !staged:
		return ReachPlaced, nil
	case replaced:
		return ReachBegun, nil
	case staged:
		return ReachStaged, nil
	}
	return ReachNone, nil
}

// Keep implements Restorer.
func (c *Command) Keep(context.Context) (string, error) {
	there, err := exists(c.replaced())
	if err != nil || !there {
		return "", err
	}
	var kept string
	err = c.folder(func(in *fsx.Dir) error {
		to, err := freeName(in, "kept")
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
func (c *Command) OpenStaged(e Entry) (content StagedContent, err error) {
	err = atPlace(c.Staged(), func(p fsx.Place) error {
		content, err = openStagedFile(p, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the stage of %s: %w", c.name, err)
	}
	return content, nil
}

// Distrust implements Rereader: the file is set aside.
func (c *Command) Distrust(ctx context.Context, r *pack.Reader, e Entry, spot Spot) (bool, error) {
	var bad bool
	err := atPlace(c.Staged(), func(p fsx.Place) (err error) {
		bad, err = distrustFile(ctx, r, p, e, spot, func() error { return asidesIn(p.Dir, "dropped").addFiles(p.Name) })
		return err
	})
	if err != nil {
		return bad, fmt.Errorf("read the stage of %s: %w", c.name, err)
	}
	return bad, nil
}

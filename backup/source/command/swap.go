package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// A command's state lies wherever its commands put it, so nothing can be
// renamed: the swap loads the staged state over the present one, which was
// dumped to a file first. The files in the scratch folder are the journal:
//
//	staged            a state is ready to be loaded
//	staged, replaced  the present state is kept; loading may have begun
//	loaded, replaced  loaded
//
// An interrupted load is run again from its start. That ends well only with a
// restore command that replaces whatever it finds, as Config asks.

// Staged is the file that holds the staged output.
func (c *Source) Staged() string { return filepath.Join(c.cfg.Scratch, "staged") }

func (c *Source) replaced() string { return filepath.Join(c.cfg.Scratch, "replaced") }
func (c *Source) loaded() string   { return filepath.Join(c.cfg.Scratch, "loaded") }

// folder does something in the scratch folder, which may be missing.
func (c *Source) folder(do func(in *fsx.Dir) error) error {
	in, err := fsx.Open(c.cfg.Scratch)
	if errors.Is(err, fs.ErrNotExist) {
		return do(nil)
	}
	if err != nil {
		return err
	}
	defer in.Close()
	return do(in)
}

// Space implements Restorer: the staged state, and the replaced one, which is
// taken to be of the same size.
func (c *Source) Space(e source.Entry) (string, int64) { return c.cfg.Scratch, 2 * e.Size }

// Accept implements Restorer.
func (c *Source) Accept(context.Context, source.Entry) error { return nil }

// Fingerprint implements Restorer.
func (c *Source) Fingerprint(context.Context) (print string, err error) {
	err = c.folder(func(in *fsx.Dir) error {
		print, err = swap.Fingerprint(in, filepath.Base(c.Staged()))
		return err
	})
	return print, err
}

// Stage implements Restorer. It keeps the output in a file; the restore command
// runs in Swap, whose time therefore depends on the size of the state.
func (c *Source) Stage(ctx context.Context, r *pack.Reader, e source.Entry) error {
	if err := c.stage(ctx, r, e); err != nil {
		return fmt.Errorf("stage %s: %w", c.name, err)
	}
	return nil
}

func (c *Source) stage(ctx context.Context, r *pack.Reader, e source.Entry) error {
	if kept, err := fsx.Exists(c.replaced()); err != nil {
		return err
	} else if kept {
		return source.ErrUnfinished
	}
	if err := fsx.MakeScratch(c.cfg.Scratch); err != nil {
		return err
	}
	if err := fsx.RemoveFiles(c.loaded()); err != nil {
		return err
	}
	return fsx.ReplaceFile(c.Staged(), func(w io.Writer) error { return chunks.Copy(ctx, r, e.Root, w) })
}

// Swap implements Restorer. It fails, having changed nothing, when the present
// state cannot be dumped: then there would be no way back.
func (c *Source) Swap(ctx context.Context) error {
	if err := c.swap(ctx); err != nil {
		return fmt.Errorf("swap %s: %w", c.name, err)
	}
	return nil
}

func (c *Source) swap(ctx context.Context) error {
	staged, err := fsx.Exists(c.Staged())
	if err != nil {
		return err
	}
	if !staged {
		if done, err := fsx.Exists(c.loaded()); err != nil || done {
			return err
		}
		return swap.ErrNothingStaged
	}
	kept, err := fsx.Exists(c.replaced())
	if err != nil {
		return err
	}
	if !kept {
		if err := c.keepPresent(ctx); err != nil {
			return fmt.Errorf("keep the present state: %w", err)
		}
	}
	if err := c.fault("kept"); err != nil {
		return err
	}
	if err := c.restore(ctx, c.Staged()); err != nil {
		return err
	}
	if err := c.fault("loaded"); err != nil {
		return err
	}
	return fsx.MoveFile(c.Staged(), c.loaded())
}

func (c *Source) keepPresent(ctx context.Context) error {
	return fsx.ReplaceFile(c.replaced(), func(w io.Writer) error {
		return c.dump(ctx, func(r io.Reader) error {
			_, err := io.Copy(w, r)
			return err
		})
	})
}

// SwapBack implements Restorer.
func (c *Source) SwapBack(ctx context.Context) error {
	if err := c.swapBack(ctx); err != nil {
		return fmt.Errorf("swap back %s: %w", c.name, err)
	}
	return nil
}

func (c *Source) swapBack(ctx context.Context) error {
	kept, err := fsx.Exists(c.replaced())
	if err != nil {
		return err
	}
	if kept {
		if err := c.restore(ctx, c.replaced()); err != nil {
			return err
		}
		if err := c.fault("restored"); err != nil {
			return err
		}
	}
	return c.drop(c.Staged(), c.loaded(), c.replaced()) // the last one tells a new try to restore
}

// Discard implements Restorer.
func (c *Source) Discard(context.Context) error {
	if err := c.discard(); err != nil {
		return fmt.Errorf("discard %s: %w", c.name, err)
	}
	return nil
}

func (c *Source) discard() error {
	staged, err := fsx.Exists(c.Staged())
	if err != nil {
		return err
	}
	kept, err := fsx.Exists(c.replaced())
	if err != nil {
		return err
	}
	if staged && kept {
		return source.ErrUnfinished
	}
	return c.drop(c.replaced(), c.loaded(), c.Staged())
}

// drop sets the given files aside, and then half-written ones.
func (c *Source) drop(paths ...string) error {
	return c.folder(func(in *fsx.Dir) error {
		dropped := swap.AsidesIn(in, "dropped")
		for _, p := range paths {
			if err := dropped.AddFiles(filepath.Base(p)); err != nil {
				return err
			}
			if err := c.fault("drop " + filepath.Base(p)); err != nil {
				return err
			}
		}
		return dropped.AddFiles(filepath.Base(c.Staged())+".part", filepath.Base(c.replaced())+".part")
	})
}

// Sweep implements Sweeper.
func (c *Source) Sweep(ctx context.Context) ([]source.Leftover, error) {
	var left []source.Leftover
	err := c.folder(func(in *fsx.Dir) (err error) {
		left, err = swap.AsidesIn(in, "dropped").Sweep(ctx)
		return err
	})
	if err != nil {
		return left, fmt.Errorf("delete what is left of %s: %w", c.name, err)
	}
	return left, nil
}

package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
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
// restore command that replaces whatever it finds, as CommandConfig asks.

// Staged is the file that holds the staged output.
func (c *Command) Staged() string { return filepath.Join(c.cfg.Scratch, "staged") }

func (c *Command) replaced() string { return filepath.Join(c.cfg.Scratch, "replaced") }
func (c *Command) loaded() string   { return filepath.Join(c.cfg.Scratch, "loaded") }

// folder does something in the scratch folder, which may be missing.
func (c *Command) folder(do func(in *fsx.Dir) error) error {
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
func (c *Command) Space(e Entry) (string, int64) { return c.cfg.Scratch, 2 * e.Size }

// Accept implements Restorer.
func (c *Command) Accept(context.Context, Entry) error { return nil }

// Seal implements Restorer.
func (c *Command) Seal(context.Context) (seal string, err error) {
	err = c.folder(func(in *fsx.Dir) error {
		seal, err = sealOf(in, filepath.Base(c.Staged()))
		return err
	})
	return seal, err
}

// Stage implements Restorer. It keeps the output in a file; the restore command
// runs in Swap, whose time therefore depends on the size of the state.
func (c *Command) Stage(ctx context.Context, r *pack.Reader, e Entry) error {
	if err := c.stage(ctx, r, e); err != nil {
		return fmt.Errorf("stage %s: %w", c.name, err)
	}
	return nil
}

func (c *Command) stage(ctx context.Context, r *pack.Reader, e Entry) error {
	if kept, err := exists(c.replaced()); err != nil {
		return err
	} else if kept {
		return ErrUnfinished
	}
	if err := makeScratch(c.cfg.Scratch); err != nil {
		return err
	}
	if err := removeFiles(c.loaded()); err != nil {
		return err
	}
	return c.keepFile(c.Staged(), func(w io.Writer) error { return copyStream(ctx, r, e.Root, w) })
}

// keepFile makes the file at path appear at once, whole and durable.
func (c *Command) keepFile(path string, fill func(io.Writer) error) error {
	part := path + ".part"
	if err := writeFile(part, fill); err != nil {
		return err
	}
	return moveFile(part, path)
}

// Swap implements Restorer. It fails, having changed nothing, when the present
// state cannot be dumped: then there would be no way back.
func (c *Command) Swap(ctx context.Context) error {
	if err := c.swap(ctx); err != nil {
		return fmt.Errorf("swap %s: %w", c.name, err)
	}
	return nil
}

func (c *Command) swap(ctx context.Context) error {
	staged, err := exists(c.Staged())
	if err != nil {
		return err
	}
	if !staged {
		if done, err := exists(c.loaded()); err != nil || done {
			return err
		}
		return errNothingStaged
	}
	kept, err := exists(c.replaced())
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
	return moveFile(c.Staged(), c.loaded())
}

func (c *Command) keepPresent(ctx context.Context) error {
	return c.keepFile(c.replaced(), func(w io.Writer) error {
		return c.dump(ctx, func(r io.Reader) error {
			_, err := io.Copy(w, r)
			return err
		})
	})
}

// SwapBack implements Restorer.
func (c *Command) SwapBack(ctx context.Context) error {
	if err := c.swapBack(ctx); err != nil {
		return fmt.Errorf("swap back %s: %w", c.name, err)
	}
	return nil
}

func (c *Command) swapBack(ctx context.Context) error {
	kept, err := exists(c.replaced())
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
func (c *Command) Discard(context.Context) error {
	if err := c.discard(); err != nil {
		return fmt.Errorf("discard %s: %w", c.name, err)
	}
	return nil
}

func (c *Command) discard() error {
	staged, err := exists(c.Staged())
	if err != nil {
		return err
	}
	kept, err := exists(c.replaced())
	if err != nil {
		return err
	}
	if staged && kept {
		return ErrUnfinished
	}
	return c.drop(c.replaced(), c.loaded(), c.Staged())
}

// drop sets the given files aside, and then half-written ones.
func (c *Command) drop(paths ...string) error {
	return c.folder(func(in *fsx.Dir) error {
		dropped := asidesIn(in, "dropped")
		for _, p := range paths {
			if err := dropped.addFiles(filepath.Base(p)); err != nil {
				return err
			}
			if err := c.fault("drop " + filepath.Base(p)); err != nil {
				return err
			}
		}
		return dropped.addFiles(filepath.Base(c.Staged())+".part", filepath.Base(c.replaced())+".part")
	})
}

// Sweep implements Sweeper.
func (c *Command) Sweep(ctx context.Context) ([]Leftover, error) {
	var left []Leftover
	err := c.folder(func(in *fsx.Dir) (err error) {
		left, err = asidesIn(in, "dropped").sweep(ctx)
		return err
	})
	if err != nil {
		return left, fmt.Errorf("delete what is left of %s: %w", c.name, err)
	}
	return left, nil
}

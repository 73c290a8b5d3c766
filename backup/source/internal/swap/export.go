package swap

import (
	"context"
	"errors"
	"io/fs"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// Export makes a folder at a place where nothing is, once fill has filled it.
func Export(ctx context.Context, at fsx.Place, fill func(made *fsx.Dir) error) error {
	if there, err := at.Exists(); err != nil {
		return err
	} else if there {
		return &fs.PathError{Op: "export to", Path: at.Path(), Err: fs.ErrExist}
	}
	partial := Beside(at.Name, "partial")
	if err := fsx.RemoveAll(ctx, at.Dir, partial); err != nil {
		return err
	}
	made, err := at.Dir.Make(partial)
	if err != nil {
		return err
	}
	defer made.Close()
	if err := fill(made); err != nil {
		return errors.Join(err, fsx.RemoveAll(ctx, at.Dir, partial))
	}
	if err := at.Dir.RenameNew(partial, at.Dir, at.Name); err != nil {
		return err
	}
	return errors.Join(at.Dir.Still(at.Name, made.FD()), at.Dir.Sync())
}

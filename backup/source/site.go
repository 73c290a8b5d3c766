package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// site is where a directory's stage is built, on the file system of its
// target, and what lies there. What has the name of the stage is whole.
type site struct {
	target   string
	folder   string // holds the names below
	staging  string // a stage being built, or changed
	staged   string
	replaced string
	kept     string // and a number behind it: what was replaced, when nobody knew whether it is still needed
	dropped  asides // what waits to be deleted
	delta    string // files on their way into the stage
	list     string // the tree that is staged
	listing  string // the tree that is going to be
	marks    string // of what is staged, an entry each
	marking  string // of what is going to be
	note     string // what a swap keeps in mind; there from its begin to its end
	fault    func(step string) error
}

func newSite(target, folder string, place func(name string) string) site {
	return site{
		target: target, folder: folder,
		staging: place("staging"), staged: place("staged"), replaced: place("replaced"), kept: place("kept"), dropped: asides(place("dropped")),
		delta: place("delta"), list: place("list"), listing: place("listing"),
		marks: place("marks"), marking: place("marking"), note: place("swap.json"),
		fault: noFault,
	}
}

// stage has build make a folder, and gives it the name of the stage once that
// has succeeded. build makes it durable, and writes listing. An earlier stage
// makes room first.
func (s *site) stage(ctx context.Context, build func(dir string) error) error {
	if err := s.ready(); err != nil {
		return err
	}
	if err := s.clear(); err != nil {
		return err
	}
	if _, err := s.dropped.sweep(ctx); err != nil {
		return err
	}
	if err := build(s.staging); err != nil {
		return errors.Join(err, s.remove(ctx, s.staging), removeFiles(s.listing, s.marking))
	}
	return s.place()
}

// advance changes the stage. Up to the end of prepare, which fills delta and
// writes listing, the stage is as it was; while apply changes it, and makes it
// durable, it has another name.
func (s *site) advance(ctx context.Context, prepare func() error, apply func(dir string) error) error {
	if err := s.ready(); err != nil {
		return err
	}
	if err := s.dropDelta(ctx); err != nil {
		return err
	}
	if err := prepare(); err != nil {
		return errors.Join(err, s.dropDelta(ctx))
	}
	if err := s.move("advance", s.staged, s.staging); err != nil {
		return err
	}
	if err := apply(s.staging); err != nil {
		return errors.Join(err, s.clear())
	}
	if err := s.place(); err != nil {
		return err
	}
	return s.dropDelta(ctx)
}

// place makes what was built the stage.
func (s *site) place() error {
	if there, err := exists(s.marking); err != nil {
		return err
	} else if there {
		if err := s.move("marks", s.marking, s.marks); err != nil {
			return err
		}
	}
	if there, err := exists(s.listing); err != nil {
		return err
	} else if there {
		if err := s.move("list", s.listing, s.list); err != nil {
			return err
		}
	}
	return s.move("stage", s.staging, s.staged)
}

// ready refuses to stage while a swap is neither finished nor undone.
func (s *site) ready() error {
	switch there, err := exists(s.note); {
	case err != nil:
		return err
	case there:
		return fmt.Errorf("%s: %w", s.target, ErrUnfinished)
	}
	return nil
}

func (s *site) dropDelta(ctx context.Context) error {
	if err := removeFiles(s.listing, s.marking); err != nil {
		return err
	}
	return s.remove(ctx, s.delta)
}

// remove sets a folder aside and deletes what can be deleted of it.
func (s *site) remove(ctx context.Context, path string) error {
	if err := s.drop(path); err != nil {
		return err
	}
	// To stop half-way gains nothing, and what is left is the next sweep's.
	_, err := s.dropped.sweep(context.WithoutCancel(ctx))
	return err
}

// clear sets all aside that a stage or a swap has left. The note is not there.
func (s *site) clear() error {
	for _, path := range []string{s.staging, s.staged, s.replaced, s.delta} {
		if err := s.drop(path); err != nil {
			return err
		}
	}
	return removeFiles(s.listing, s.marking, s.list, s.marks)
}

// drop sets a folder aside: a folder under its own name is always whole.
func (s *site) drop(path string) error {
	if n, err := inodeOf(path); err != nil || n == 0 {
		return err
	}
	if err := s.fault("drop"); err != nil {
		return err
	}
	if _, err := s.dropped.add(path); err != nil {
		return err
	}
	return s.sync()
}

// move renames durably. Nothing has the new name, unless it is a file.
func (s *site) move(step, from, to string) error {
	if err := s.fault(step); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return s.sync()
}

func (s *site) sync() error {
	if err := s.fault("sync"); err != nil {
		return err
	}
	return syncFolder(s.folder)
}

// readNote reads the note into v, and tells whether there is one.
func (s *site) readNote(v any) (bool, error) {
	data, err := os.ReadFile(s.note)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("read %s: %w", s.note, err)
	}
	return true, nil
}

func (s *site) writeNote(step string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := s.fault(step); err != nil {
		return err
	}
	if err := renameio.WriteFile(s.note, data, 0o600, renameio.WithTempDir(filepath.Dir(s.note))); err != nil {
		return fmt.Errorf("write %s: %w", s.note, err)
	}
	return s.sync()
}

func (s *site) removeNote() error {
	if err := s.fault("unmark"); err != nil {
		return err
	}
	err := os.Remove(s.note)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nor need its folder exist
	}
	if err != nil {
		return err
	}
	return s.sync()
}

package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/swap"
)

// stagePaths is where a directory's stage is built, on the file system of its
// target, and what lies there: names in a held folder. What has the name of the
// stage is whole.
type stagePaths struct {
	place  fsx.Place // of the target
	target string    // its path, for people

	in       *fsx.Dir // holds the names below; nil as long as it does not exist
	folder   string   // its path, for people
	staging  string   // a stage being built, or changed
	staged   string
	replaced string
	kept     string // and a number behind it: what was replaced, when nobody knew whether it is still needed
	dropped  string // what waits to be deleted: see asides
	delta    string // files on their way into the stage
	list     string // the tree that is staged
	listing  string // the tree that is going to be
	marks    string // of what is staged, an entry each
	marking  string // of what is going to be
	note     string // what a swap keeps in mind; there from its begin to its end
	fault    func(step string) error
}

func newStagePaths(place fsx.Place, in *fsx.Dir, folder string, name func(string) string) stagePaths {
	return stagePaths{
		place: place, target: place.Path(), in: in, folder: folder,
		staging: name("staging"), staged: name("staged"), replaced: name("replaced"), kept: name("kept"), dropped: name("dropped"),
		delta: name("delta"), list: name("list"), listing: name("listing"),
		marks: name("marks"), marking: name("marking"), note: name("swap.json"),
		fault: swap.NoFault,
	}
}

// release lets go of the folders.
func (s *stagePaths) release() {
	s.place.Close()
	s.in.Close()
}

// asides are what waits to be deleted.
func (s *stagePaths) asides() swap.Asides { return swap.AsidesIn(s.in, s.dropped) }

// path is where something with one of the names is, for people.
func (s *stagePaths) path(name string) string { return filepath.Join(s.folder, name) }

// old is where the replaced state lies.
func (s *stagePaths) old() fsx.Place { return fsx.Place{Dir: s.in, Name: s.replaced} }

// exists tells whether something has one of the names.
func (s *stagePaths) exists(name string) (bool, error) {
	if s.in == nil {
		return false, nil
	}
	return s.in.Exists(name)
}

// stage makes a folder, has build fill it, and gives it the name of the stage once
// that has succeeded. build makes it durable, and writes listing. An earlier stage
// makes room first. Until build has ended nobody else can be in the folder.
func (s *stagePaths) stage(ctx context.Context, build func(made *fsx.Dir) error) error {
	if err := s.ready(); err != nil {
		return err
	}
	if err := s.clear(); err != nil {
		return err
	}
	if _, err := s.asides().Sweep(ctx); err != nil {
		return err
	}
	made, err := s.in.Make(s.staging)
	if err == nil {
		defer made.Close()
		err = build(made)
	}
	if err == nil {
		err = s.put(made)
	}
	if err != nil {
		return errors.Join(err, s.remove(ctx, s.staging), s.removeFiles(s.listing, s.marking))
	}
	return nil
}

// advance changes the stage. Up to the end of prepare, which fills delta and
// writes listing, the stage is as it was; while apply changes it, and makes it
// durable, it has another name.
func (s *stagePaths) advance(ctx context.Context, prepare func(stage, delta *fsx.Dir) error, apply func() error) error {
	if err := s.ready(); err != nil {
		return err
	}
	if s.in == nil {
		return fmt.Errorf("%w at %s", swap.ErrNothingStaged, s.path(s.staged))
	}
	if err := s.dropDelta(ctx); err != nil {
		return err
	}
	stage, err := s.in.OpenDir(s.staged)
	if err != nil {
		return err
	}
	defer stage.Close()
	delta, err := s.in.Make(s.delta)
	if err == nil {
		defer delta.Close()
		err = prepare(stage, delta)
	}
	if err != nil {
		return errors.Join(err, s.dropDelta(ctx))
	}
	if err := s.move("advance", s.staged, s.staging); err != nil {
		return err
	}
	if err = apply(); err == nil {
		err = s.put(stage)
	}
	if err != nil {
		return errors.Join(err, s.clear())
	}
	return s.dropDelta(ctx)
}

// put makes what was built the stage.
func (s *stagePaths) put(built *fsx.Dir) error {
	for _, f := range []struct{ step, from, to string }{{"marks", s.marking, s.marks}, {"list", s.listing, s.list}} {
		there, err := s.exists(f.from)
		if err == nil && there {
			err = s.move(f.step, f.from, f.to)
		}
		if err != nil {
			return err
		}
	}
	if err := s.move("stage", s.staging, s.staged); err != nil {
		return err
	}
	return s.in.Still(s.staged, built.FD())
}

// ready refuses to stage while a swap is neither finished nor undone.
func (s *stagePaths) ready() error {
	switch there, err := s.exists(s.note); {
	case err != nil:
		return err
	case there:
		return fmt.Errorf("%s: %w", s.target, source.ErrUnfinished)
	}
	return nil
}

func (s *stagePaths) dropDelta(ctx context.Context) error {
	if err := s.removeFiles(s.listing, s.marking); err != nil {
		return err
	}
	return s.remove(ctx, s.delta)
}

// removeFiles removes the files that exist, in order, durably.
func (s *stagePaths) removeFiles(names ...string) error {
	for _, name := range names {
		there, err := s.in.Stat(name)
		switch {
		case err != nil:
			return err
		case there.Mode == 0:
			continue
		case fsx.IsDir(there):
			err = s.drop(name) // nobody who restores has made it
		default:
			err = errors.Join(s.in.Remove(name), s.in.Sync())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// remove sets a folder aside and deletes what can be deleted of it.
func (s *stagePaths) remove(ctx context.Context, name string) error {
	if err := s.drop(name); err != nil {
		return err
	}
	// To stop half-way gains nothing, and what is left is the next sweep's.
	_, err := s.asides().Sweep(context.WithoutCancel(ctx))
	return err
}

// clear sets all aside that a stage or a swap has left. The note is not there.
func (s *stagePaths) clear() error {
	if s.in == nil {
		return nil
	}
	for _, name := range []string{s.staging, s.staged, s.replaced, s.delta} {
		if err := s.drop(name); err != nil {
			return err
		}
	}
	return s.removeFiles(s.listing, s.marking, s.list, s.marks)
}

// drop sets a folder aside: a folder under its own name is always whole. Something
// else that somebody has put there goes the same way.
func (s *stagePaths) drop(name string) error {
	if there, err := s.exists(name); err != nil || !there {
		return err
	}
	if err := s.fault("drop"); err != nil {
		return err
	}
	if _, err := s.asides().Add(name); err != nil {
		return err
	}
	return s.sync()
}

// move renames durably. Nothing has the new name, unless it is a file.
func (s *stagePaths) move(step, from, to string) error {
	if err := s.fault(step); err != nil {
		return err
	}
	if err := s.in.Rename(from, to); err != nil {
		return err
	}
	return s.sync()
}

func (s *stagePaths) sync() error {
	if err := s.fault("sync"); err != nil {
		return err
	}
	return s.in.Sync()
}

// maxNote is more than any note takes.
const maxNote = 1 << 20

// readNote reads the note into v, and tells whether there is one.
func (s *stagePaths) readNote(v any) (bool, error) {
	if s.in == nil {
		return false, nil
	}
	data, err := s.in.ReadOwn(s.note, maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("read %s: %w", s.in.Path(s.note), err)
	}
	return true, nil
}

func (s *stagePaths) writeNote(step string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := s.fault(step); err != nil {
		return err
	}
	if err := s.in.Replace(s.note, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", s.in.Path(s.note), err)
	}
	return s.sync()
}

func (s *stagePaths) removeNote() error {
	if err := s.fault("unmark"); err != nil {
		return err
	}
	there, err := s.exists(s.note) // nor need its folder exist
	if err != nil || !there {
		return err
	}
	if err := s.in.Remove(s.note); err != nil {
		return err
	}
	return s.sync()
}

package stage

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

// Stage is where a directory's stage is built, on the file system of its
// target, and what lies there: names in a held folder. What has the name of the
// stage is whole.
type Stage struct {
	Place  fsx.Place // of the target
	Target string    // its path, for people

	In       *fsx.Dir // holds the names below; nil as long as it does not exist
	Folder   string   // its path, for people
	staging  string   // a stage being built, or changed
	Staged   string
	Replaced string
	kept     string // and a number behind it: what was replaced, when nobody knew whether it is still needed
	dropped  string // what waits to be deleted: see asides
	delta    string // files on their way into the stage
	List     string // the tree that is staged
	Listing  string // the tree that is going to be
	Marks    string // of what is staged, an entry each
	Marking  string // of what is going to be
	Note     string // what a swap keeps in mind; there from its begin to its end
	fault    func(step string) error
}

func newStage(place fsx.Place, in *fsx.Dir, folder string, name func(string) string) Stage {
	return Stage{
		Place: place, Target: place.Path(), In: in, Folder: folder,
		staging: name("staging"), Staged: name("staged"), Replaced: name("replaced"), kept: name("kept"), dropped: name("dropped"),
		delta: name("delta"), List: name("list"), Listing: name("listing"),
		Marks: name("marks"), Marking: name("marking"), Note: name("swap.json"),
		fault: swap.NoFault,
	}
}

// Release lets go of the folders.
func (s *Stage) Release() {
	s.Place.Close()
	s.In.Close()
}

// Asides are what waits to be deleted.
func (s *Stage) Asides() swap.Asides { return swap.AsidesIn(s.In, s.dropped) }

// Path is where something with one of the names is, for people.
func (s *Stage) Path(name string) string { return filepath.Join(s.Folder, name) }

// Places are the names that a folder has from the making of it to the swap.
func (s *Stage) Places() []string { return []string{s.staging, s.Staged} }

// Old is where the replaced state lies.
func (s *Stage) Old() fsx.Place { return fsx.Place{Dir: s.In, Name: s.Replaced} }

// Exists tells whether something has one of the names.
func (s *Stage) Exists(name string) (bool, error) {
	if s.In == nil {
		return false, nil
	}
	return s.In.Exists(name)
}

// Build makes a folder, has build fill it, and gives it the name of the Build once
// that has succeeded. build makes it durable, and writes listing. An earlier Build
// makes room first. Until build has ended nobody else can be in the folder.
func (s *Stage) Build(ctx context.Context, build func(made *fsx.Dir) error) error {
	if err := s.ready(); err != nil {
		return err
	}
	if err := s.clear(); err != nil {
		return err
	}
	if _, err := s.Asides().Sweep(ctx); err != nil {
		return err
	}
	made, err := s.In.Make(s.staging)
	if err == nil {
		defer made.Close()
		err = build(made)
	}
	if err == nil {
		err = s.put(made)
	}
	if err != nil {
		return errors.Join(err, s.remove(ctx, s.staging), s.removeFiles(s.Listing, s.Marking))
	}
	return nil
}

// Advance changes the stage. Up to the end of prepare, which fills delta and
// writes listing, the stage is as it was; while apply changes it, and makes it
// durable, it has another name.
func (s *Stage) Advance(ctx context.Context, prepare func(stage, delta *fsx.Dir) error, apply func() error) error {
	if err := s.ready(); err != nil {
		return err
	}
	if s.In == nil {
		return fmt.Errorf("%w at %s", swap.ErrNothingStaged, s.Path(s.Staged))
	}
	if err := s.dropDelta(ctx); err != nil {
		return err
	}
	stage, err := s.In.OpenDir(s.Staged)
	if err != nil {
		return err
	}
	defer stage.Close()
	delta, err := s.In.Make(s.delta)
	if err == nil {
		defer delta.Close()
		err = prepare(stage, delta)
	}
	if err != nil {
		return errors.Join(err, s.dropDelta(ctx))
	}
	if err := s.move("advance", s.Staged, s.staging); err != nil {
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
func (s *Stage) put(built *fsx.Dir) error {
	for _, f := range []struct{ step, from, to string }{{"marks", s.Marking, s.Marks}, {"list", s.Listing, s.List}} {
		there, err := s.Exists(f.from)
		if err == nil && there {
			err = s.move(f.step, f.from, f.to)
		}
		if err != nil {
			return err
		}
	}
	if err := s.move("stage", s.staging, s.Staged); err != nil {
		return err
	}
	return s.In.Still(s.Staged, built.FD())
}

// ready refuses to stage while a swap is neither finished nor undone.
func (s *Stage) ready() error {
	switch there, err := s.Exists(s.Note); {
	case err != nil:
		return err
	case there:
		return fmt.Errorf("%s: %w", s.Target, source.ErrUnfinished)
	}
	return nil
}

func (s *Stage) dropDelta(ctx context.Context) error {
	if err := s.removeFiles(s.Listing, s.Marking); err != nil {
		return err
	}
	return s.remove(ctx, s.delta)
}

// removeFiles removes the files that exist, in order, durably.
func (s *Stage) removeFiles(names ...string) error {
	for _, name := range names {
		there, err := s.In.Stat(name)
		switch {
		case err != nil:
			return err
		case there.Mode == 0:
			continue
		case fsx.IsDir(there):
			err = s.drop(name) // nobody who restores has made it
		default:
			err = errors.Join(s.In.Remove(name), s.In.Sync())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// remove sets a folder aside and deletes what can be deleted of it.
func (s *Stage) remove(ctx context.Context, name string) error {
	if err := s.drop(name); err != nil {
		return err
	}
	// To stop half-way gains nothing, and what is left is the next sweep's.
	_, err := s.Asides().Sweep(context.WithoutCancel(ctx))
	return err
}

// clear sets all aside that a stage or a swap has left. The note is not there.
func (s *Stage) clear() error {
	if s.In == nil {
		return nil
	}
	for _, name := range []string{s.staging, s.Staged, s.Replaced, s.delta} {
		if err := s.drop(name); err != nil {
			return err
		}
	}
	return s.removeFiles(s.Listing, s.Marking, s.List, s.Marks)
}

// drop sets a folder aside: a folder under its own name is always whole. Something
// else that somebody has put there goes the same way.
func (s *Stage) drop(name string) error {
	if there, err := s.Exists(name); err != nil || !there {
		return err
	}
	if err := s.fault("drop"); err != nil {
		return err
	}
	if _, err := s.Asides().Add(name); err != nil {
		return err
	}
	return s.sync()
}

// move renames durably. Nothing has the new name, unless it is a file.
func (s *Stage) move(step, from, to string) error {
	if err := s.fault(step); err != nil {
		return err
	}
	if err := s.In.Rename(from, to); err != nil {
		return err
	}
	return s.sync()
}

func (s *Stage) sync() error {
	if err := s.fault("sync"); err != nil {
		return err
	}
	return s.In.Sync()
}

// maxNote is more than any note takes.
const maxNote = 1 << 20

// readNote reads the note into v, and tells whether there is one.
func (s *Stage) readNote(v any) (bool, error) {
	if s.In == nil {
		return false, nil
	}
	data, err := s.In.ReadOwn(s.Note, maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("read %s: %w", s.In.Path(s.Note), err)
	}
	return true, nil
}

func (s *Stage) writeNote(step string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := s.fault(step); err != nil {
		return err
	}
	if err := s.In.Replace(s.Note, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", s.In.Path(s.Note), err)
	}
	return s.sync()
}

func (s *Stage) removeNote() error {
	if err := s.fault("unmark"); err != nil {
		return err
	}
	there, err := s.Exists(s.Note) // nor need its folder exist
	if err != nil || !there {
		return err
	}
	if err := s.In.Remove(s.Note); err != nil {
		return err
	}
	return s.sync()
}

// KeepReplaced renames what was replaced.
func (s *Stage) KeepReplaced() (string, error) {
	there, err := s.Exists(s.Replaced)
	if err != nil || !there {
		return "", err
	}
	to, err := swap.FreeName(s.In, s.kept)
	if err != nil {
		return "", err
	}
	return s.Path(to), s.move("keep for good", s.Replaced, to)
}

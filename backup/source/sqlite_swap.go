package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
)

// ErrUnfinished is the answer to a stage while an earlier swap is neither
// finished nor rolled back.
var ErrUnfinished = errors.New("an earlier swap was neither finished nor rolled back: do that first")

var errNothingStaged = errors.New("nothing is staged")

// sides are what SQLite keeps beside a database. A WAL or a journal belongs to
// one database file: beside another it would destroy that one.
var sides = []string{"-journal", "-wal", "-shm"}

// The state of a swap can be read off the files (S staged, B the database, R
// replaced, A absent: a marker that there was no database; R-wal etc. the side
// files set aside):
//
//	S, B or no B          staged
//	S, B, R-wal …         side files are being moved, forward or back
//	S, no B, R or A       about to be put into place, or just taken back
//	B, R or A             swapped
//
// Every step is one rename or one removal, made durable before the next. Side
// files go before the database and come back after it, so that no database
// ever has another's side files beside it.

// sqliteSite is where a database file is replaced: the real file, whatever links
// lead there, and what lies beside it, all in one held folder.
type sqliteSite struct {
	fsx.Place
	sides []string // of sides; none for a file that is no database
	fault func(step string) error
}

func (s *sqliteSite) staged() string   { return beside(s.Name, "staged") }
func (s *sqliteSite) staging() string  { return beside(s.Name, "staging") } // being built
func (s *sqliteSite) replaced() string { return beside(s.Name, "replaced") }
func (s *sqliteSite) absent() string   { return beside(s.Name, "absent") }
func (s *sqliteSite) dropped() asides {
	if len(s.Missing) > 0 {
		return asides{}
	}
	return asides{s.Dir, beside(s.Name, "dropped")}
}

// exists tells whether something in the folder has the name.
func (s *sqliteSite) exists(name string) (bool, error) {
	p := s.Place
	p.Name = name
	return p.Exists()
}

// real is the database file that the path leads to now.
func (s *SQLite) real() (fsx.Place, error) { return fsx.Resolve(s.cfg.Path) }

// Place implements Placed.
func (s *SQLite) Place() (string, error) { return resolveTarget(s.cfg.Path) }

// At implements Placed.
func (s *SQLite) At(place string) Source {
	there := *s
	there.cfg.Path = place
	return &there
}

// do does something where the path leads now.
func (s *SQLite) do(verb string, what func(*sqliteSite) error) error {
	err := atPlace(s.cfg.Path, func(p fsx.Place) error {
		return what(&sqliteSite{Place: p, sides: sides, fault: s.fault})
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, s.name, err)
	}
	return nil
}

// Staged is the path of the staged database file.
func (s *SQLite) Staged() string {
	return besides(placeOr(s.cfg.Path), "staged")
}

// sqliteState is which of the files exist.
type sqliteState struct{ staged, target, replaced, absent, moved bool }

func (s *sqliteSite) state() (st sqliteState, err error) {
	for _, f := range []struct {
		name string
		to   *bool
	}{{s.staged(), &st.staged}, {s.Name, &st.target}, {s.replaced(), &st.replaced}, {s.absent(), &st.absent}} {
		if *f.to, err = s.exists(f.name); err != nil {
			return st, err
		}
	}
	for _, side := range s.sides {
		there, err := s.exists(s.replaced() + side)
		if err != nil {
			return st, err
		}
		st.moved = st.moved || there
	}
	return st, nil
}

// Space implements Restorer.
func (s *SQLite) Space(e Entry) (string, int64) {
	return filepath.Dir(placeOr(s.cfg.Path)), e.Size // Stage reports a path that leads nowhere
}

// Accept implements Restorer.
func (s *SQLite) Accept(context.Context, Entry) error { return nil }

// Seal implements Restorer. What SQLite keeps beside a database belongs to it.
func (s *SQLite) Seal(context.Context) (seal string, err error) {
	err = s.do("look at the stage of", func(at *sqliteSite) error {
		seal, err = at.seal()
		return err
	})
	return seal, err
}

func (s *sqliteSite) seal() (string, error) {
	if len(s.Missing) > 0 {
		return "", nil
	}
	// The file of an index that readers share says nothing.
	seal, err := sealOf(s.Dir, s.staged())
	if err != nil || seal == "" {
		return "", err
	}
	for _, side := range s.logs() {
		st, err := s.Dir.Stat(s.staged() + side)
		if err != nil {
			return "", err
		}
		if st.Size > 0 {
			return seal + "written to", nil
		}
	}
	return seal, nil
}

// sameOwner tells whether two dumps gave the file the same mode, owner and
// extended attributes.
func sameOwner(a, b Entry) bool {
	var x, y sqliteFacts
	if json.Unmarshal(a.Facts, &x) != nil || json.Unmarshal(b.Facts, &y) != nil {
		return false
	}
	return x.Mode == y.Mode && x.UID == y.UID && x.GID == y.GID && x.User == y.User && x.Group == y.Group && sameXattrs(x.Xattrs, y.Xattrs)
}

// Stage implements Restorer. The earlier stage stays until the new one is
// whole.
func (s *SQLite) Stage(ctx context.Context, r *pack.Reader, e Entry) error {
	return s.do("stage", func(at *sqliteSite) error {
		var facts sqliteFacts
		if err := json.Unmarshal(e.Facts, &facts); err != nil {
			return fmt.Errorf("read facts: %w", err)
		}
		return at.stage(facts.parents(at.Place), func(f *os.File) error { return facts.build(ctx, r, e, f) })
	})
}

// stage has build fill the file of the name staging, beneath folders like parents.
func (s *sqliteSite) stage(parents []parent, build func(*os.File) error) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	if st.replaced || st.absent || st.moved {
		return ErrUnfinished
	}
	if err := makeParents(&s.Place, parents); err != nil {
		return err
	}
	if err := s.clearWay(s.staging()); err != nil {
		return err
	}
	return s.Dir.Write(s.staging(), func(f *os.File) error {
		err := build(f)
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			return err
		}
		// Side files belong to the earlier stage: they go before it does.
		if err := s.dropped().addFiles(s.withSides(s.staged())...); err != nil {
			return err
		}
		return s.step("staged", s.put(f))
	})
}

// put gives the file that was built the name of the stage.
func (s *sqliteSite) put(f *os.File) error {
	err := s.clearWay(s.staged())
	if err == nil {
		err = s.Dir.Move(s.staging(), s.staged())
	}
	if err != nil {
		return err
	}
	return s.Dir.Still(s.staged(), int(f.Fd()))
}

// clearWay sets a folder aside that has the name of a file: nobody who restores has
// made it.
func (s *sqliteSite) clearWay(name string) error {
	there, err := s.Dir.Stat(name)
	if err == nil && isFolder(there) {
		err = s.dropped().addFiles(name)
	}
	return err
}

// build fills the file that is to be staged: verified, and its owner's.
func (f *sqliteFacts) build(ctx context.Context, r *pack.Reader, e Entry, to *os.File) error {
	if err := copyStream(ctx, r, e.Root, to); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	findings, err := examineFile(ctx, to)
	if err != nil {
		return err
	}
	if err := judge(ctx, "", findings); err != nil {
		return err
	}
	return stageMeta(ctx, to, e.Name, f.node(filepath.Base(to.Name())))
}

// parents are the models of the folders above the database. A backup of an
// earlier version has none: then its folder, to which the application writes,
// gets the database's owner.
func (f *sqliteFacts) parents(at fsx.Place) []parent {
	if len(f.Parents) > 0 {
		return f.Parents
	}
	return []parent{{
		Name: filepath.Base(filepath.Dir(at.Path())), Mode: 0o755,
		UID: f.UID, GID: f.GID, User: f.User, Group: f.Group,
	}}
}

// Swap implements Restorer.
func (s *SQLite) Swap(context.Context) error {
	return s.do("swap", (*sqliteSite).swap)
}

func (s *sqliteSite) swap() error {
	st, err := s.state()
	if err != nil {
		return err
	}
	switch {
	case !st.staged && st.target && (st.replaced || st.absent):
		return nil
	case !st.staged:
		return errNothingStaged
	case st.target && (st.replaced || st.absent):
		return fmt.Errorf("%s was made again in the midst of a swap", s.Path())
	}
	if err := s.dropStagedSides(); err != nil {
		return err
	}
	if err := s.moveSides(s.Name, s.replaced()); err != nil {
		return err
	}
	switch {
	case st.target:
		err = s.step("replace", s.Dir.Move(s.Name, s.replaced()))
	case !st.replaced && !st.absent:
		err = s.step("absent", s.markAbsent())
	}
	if err != nil {
		return err
	}
	return s.step("place", s.Dir.Move(s.staged(), s.Name))
}

// SwapBack implements Restorer.
func (s *SQLite) SwapBack(context.Context) error {
	return s.do("swap back", (*sqliteSite).swapBack)
}

func (s *sqliteSite) swapBack() error {
	st, err := s.state()
	if err != nil {
		return err
	}
	if st.replaced || st.absent {
		if st.target && st.staged {
			return fmt.Errorf("%s was made again in the midst of a swap", s.Path())
		}
		if err := s.takeBack(st); err != nil {
			return err
		}
	}
	if err := s.moveSides(s.replaced(), s.Name); err != nil {
		return err
	}
	if err := s.step("drop staged", s.dropped().addFiles(append(s.withSides(s.staged()), s.staged(), s.staging())...)); err != nil {
		return err
	}
	return s.step("drop absent", s.remove(s.absent()))
}

// takeBack takes the new database out of its place, with the side files that
// it may have got there, and puts the replaced one in.
func (s *sqliteSite) takeBack(st sqliteState) error {
	if st.target {
		if err := s.step("take", s.Dir.Move(s.Name, s.staged())); err != nil {
			return err
		}
	}
	for _, side := range s.sides {
		if err := s.step("drop"+side, s.dropped().addFiles(s.Name+side)); err != nil {
			return err
		}
	}
	if !st.replaced {
		return nil
	}
	return s.step("put back", s.Dir.Move(s.replaced(), s.Name))
}

// Discard implements Restorer.
func (s *SQLite) Discard(context.Context) error {
	return s.do("discard", (*sqliteSite).discard)
}

func (s *sqliteSite) discard() error {
	st, err := s.state()
	if err != nil {
		return err
	}
	if st.staged && (st.replaced || st.absent || st.moved) || st.replaced && !st.target {
		return ErrUnfinished
	}
	names := append(s.withSides(s.replaced()), s.replaced(), s.absent())
	names = append(append(names, s.withSides(s.staged())...), s.staged(), s.staging())
	for _, name := range names {
		if err := s.step("drop "+name, s.dropped().addFiles(name)); err != nil {
			return err
		}
	}
	return nil
}

// Sweep implements Sweeper.
func (s *SQLite) Sweep(ctx context.Context) (left []Leftover, err error) {
	err = s.do("delete what is left of", func(at *sqliteSite) error {
		left, err = at.dropped().sweep(ctx)
		return err
	})
	return left, err
}

// moveSides moves the side files of one database beside another name.
func (s *sqliteSite) moveSides(from, to string) error {
	for _, side := range s.sides {
		there, err := s.exists(from + side)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if err := s.free(to + side); err != nil {
			return err
		}
		if err := s.step("move"+side, s.Dir.Move(from+side, to+side)); err != nil {
			return err
		}
	}
	return nil
}

// dropStagedSides removes what a reader of the staged database left beside it,
// a probe for one, and fails when somebody wrote to it.
func (s *sqliteSite) dropStagedSides() error {
	for _, side := range s.logs() {
		st, err := s.Dir.Stat(s.staged() + side)
		if err != nil {
			return err
		}
		if st.Size > 0 {
			return fmt.Errorf("%s was written to: stage it again", s.Dir.Path(s.staged()))
		}
	}
	return s.remove(s.withSides(s.staged())...)
}

// withSides names what lies beside the file of that name.
func (s *sqliteSite) withSides(name string) []string {
	names := make([]string, len(s.sides))
	for i, side := range s.sides {
		names[i] = name + side
	}
	return names
}

// logs are the side files that have something which belongs into the database.
func (s *sqliteSite) logs() []string { return s.sides[:min(len(s.sides), 2)] }

// free refuses to overwrite a side file: somebody opened the database while it
// was being swapped, and which of the two files is right cannot be known.
func (s *sqliteSite) free(name string) error {
	taken, err := s.exists(name)
	if err != nil {
		return err
	}
	if taken {
		return fmt.Errorf("%s was opened in the midst of a swap: %s is in the way", s.Path(), s.Dir.Path(name))
	}
	return nil
}

func (s *sqliteSite) markAbsent() error {
	f, err := s.Dir.Anew(s.absent())
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return s.Dir.Sync()
}

// remove removes the files that exist, in order, durably.
func (s *sqliteSite) remove(names ...string) error {
	for _, name := range names {
		there, err := s.exists(name)
		if err == nil && there {
			err = errors.Join(s.Dir.Remove(name), s.Dir.Sync())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// step passes a step's error on and, in tests, stops after the step.
func (s *sqliteSite) step(name string, err error) error {
	if err != nil {
		return err
	}
	return s.fault(name)
}

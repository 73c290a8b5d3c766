package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
// lead there, and what lies beside it.
type sqliteSite struct {
	path  string
	sides []string // of sides; none for a file that is no database
	fault func(step string) error
}

func (s *sqliteSite) staged() string   { return besides(s.path, "staged") }
func (s *sqliteSite) staging() string  { return besides(s.path, "staging") } // being built
func (s *sqliteSite) replaced() string { return besides(s.path, "replaced") }
func (s *sqliteSite) absent() string   { return besides(s.path, "absent") }
func (s *sqliteSite) dropped() asides  { return asides(besides(s.path, "dropped")) }

// real is the database file that the path leads to now.
func (s *SQLite) real() (string, error) { return resolveTarget(s.cfg.Path) }

// Place implements Placed.
func (s *SQLite) Place() (string, error) { return s.real() }

// At implements Placed.
func (s *SQLite) At(place string) Source {
	there := *s
	there.cfg.Path = place
	return &there
}

// do does something where the path leads now.
func (s *SQLite) do(verb string, what func(*sqliteSite) error) error {
	path, err := s.real()
	if err == nil {
		err = what(&sqliteSite{path: path, sides: sides, fault: s.fault})
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, s.name, err)
	}
	return nil
}

// Staged is the path of the staged database file.
func (s *SQLite) Staged() string {
	path, err := s.real()
	if err != nil {
		path = s.cfg.Path
	}
	return besides(path, "staged")
}

// sqliteState is which of the files exist.
type sqliteState struct{ staged, target, replaced, absent, moved bool }

func (s *sqliteSite) state() (st sqliteState, err error) {
	for _, f := range []struct {
		path string
		to   *bool
	}{{s.staged(), &st.staged}, {s.path, &st.target}, {s.replaced(), &st.replaced}, {s.absent(), &st.absent}} {
		if *f.to, err = exists(f.path); err != nil {
			return st, err
		}
	}
	for _, side := range s.sides {
		there, err := exists(s.replaced() + side)
		if err != nil {
			return st, err
		}
		st.moved = st.moved || there
	}
	return st, nil
}

// Space implements Restorer.
func (s *SQLite) Space(e Entry) (string, int64) {
	path, err := s.real()
	if err != nil {
		path = s.cfg.Path // Stage reports it
	}
	return filepath.Dir(path), e.Size
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
	// The file of an index that readers share says nothing.
	seal, err := sealOf(s.staged())
	if err != nil || seal == "" {
		return "", err
	}
	for _, side := range s.logs() {
		info, err := os.Lstat(s.staged() + side)
		if err == nil && info.Size() > 0 {
			return seal + "written to", nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
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
		return at.stage(facts.parents(at.path), func() error { return at.build(ctx, r, e, facts) })
	})
}

// stage has build make the file of the name staging, beneath folders like parents.
func (s *sqliteSite) stage(parents []parent, build func() error) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	if st.replaced || st.absent || st.moved {
		return ErrUnfinished
	}
	if err := makeParents(s.path, parents); err != nil {
		return err
	}
	if err := build(); err != nil {
		return err
	}
	// Side files belong to the earlier stage: they go before it does.
	if err := s.dropped().addFiles(s.withSides(s.staged())...); err != nil {
		return err
	}
	return s.step("staged", moveFile(s.staging(), s.staged()))
}

// build makes the file that is to be staged: verified, and its owner's.
func (s *sqliteSite) build(ctx context.Context, r *pack.Reader, e Entry, facts sqliteFacts) error {
	return writeNew(s.staging(), func(f *os.File) error {
		if err := copyStream(ctx, r, e.Root, f); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		findings, err := examineFile(ctx, s.staging())
		if err != nil {
			return err
		}
		if err := judge(ctx, "", findings); err != nil {
			return err
		}
		return stageMeta(ctx, f, e.Name, facts.node(s.path))
	})
}

// parents are the models of the folders above the database. A backup of an
// earlier version has none: then its folder, to which the application writes,
// gets the database's owner.
func (f *sqliteFacts) parents(path string) []parent {
	if len(f.Parents) > 0 {
		return f.Parents
	}
	return []parent{{
		Name: filepath.Base(filepath.Dir(path)), Mode: 0o755,
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
		return fmt.Errorf("%s was made again in the midst of a swap", s.path)
	}
	if err := s.dropStagedSides(); err != nil {
		return err
	}
	if err := s.moveSides(s.path, s.replaced()); err != nil {
		return err
	}
	switch {
	case st.target:
		err = s.step("replace", moveFile(s.path, s.replaced()))
	case !st.replaced && !st.absent:
		err = s.step("absent", s.markAbsent())
	}
	if err != nil {
		return err
	}
	return s.step("place", moveFile(s.staged(), s.path))
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
			return fmt.Errorf("%s was made again in the midst of a swap", s.path)
		}
		if err := s.takeBack(st); err != nil {
			return err
		}
	}
	if err := s.moveSides(s.replaced(), s.path); err != nil {
		return err
	}
	if err := s.step("drop staged", s.dropped().addFiles(append(s.withSides(s.staged()), s.staged(), s.staging())...)); err != nil {
		return err
	}
	return s.step("drop absent", removeFiles(s.absent()))
}

// takeBack takes the new database out of its place, with the side files that
// it may have got there, and puts the replaced one in.
func (s *sqliteSite) takeBack(st sqliteState) error {
	if st.target {
		if err := s.step("take", moveFile(s.path, s.staged())); err != nil {
			return err
		}
	}
	for _, side := range s.sides {
		if err := s.step("drop"+side, s.dropped().addFiles(s.path+side)); err != nil {
			return err
		}
	}
	if !st.replaced {
		return nil
	}
	return s.step("put back", moveFile(s.replaced(), s.path))
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
	paths := append(s.withSides(s.replaced()), s.replaced(), s.absent())
	paths = append(append(paths, s.withSides(s.staged())...), s.staged(), s.staging())
	for _, path := range paths {
		if err := s.step("drop "+filepath.Base(path), s.dropped().addFiles(path)); err != nil {
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
		there, err := exists(from + side)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if err := s.free(to + side); err != nil {
			return err
		}
		if err := s.step("move"+side, moveFile(from+side, to+side)); err != nil {
			return err
		}
	}
	return nil
}

// dropStagedSides removes what a reader of the staged database left beside it,
// a probe for one, and fails when somebody wrote to it.
func (s *sqliteSite) dropStagedSides() error {
	for _, side := range s.logs() {
		info, err := os.Lstat(s.staged() + side)
		if err == nil && info.Size() > 0 {
			return fmt.Errorf("%s was written to: stage it again", s.staged())
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return removeFiles(s.withSides(s.staged())...)
}

// withSides names what lies beside the file of that name.
func (s *sqliteSite) withSides(path string) []string {
	paths := make([]string, len(s.sides))
	for i, side := range s.sides {
		paths[i] = path + side
	}
	return paths
}

// logs are the side files that have something which belongs into the database.
func (s *sqliteSite) logs() []string { return s.sides[:min(len(s.sides), 2)] }

// free refuses to overwrite a side file: somebody opened the database while it
// was being swapped, and which of the two files is right cannot be known.
func (s *sqliteSite) free(path string) error {
	taken, err := exists(path)
	if err != nil {
		return err
	}
	if taken {
		return fmt.Errorf("%s was opened in the midst of a swap: %s is in the way", s.path, path)
	}
	return nil
}

func (s *sqliteSite) markAbsent() error {
	f, err := makeFile(s.absent(), os.O_TRUNC)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(s.absent()))
}

// step passes a step's error on and, in tests, stops after the step.
func (s *sqliteSite) step(name string, err error) error {
	if err != nil {
		return err
	}
	return s.fault(name)
}

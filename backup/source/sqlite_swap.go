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

var (
	errNothingStaged = errors.New("nothing is staged")
	errUnfinished    = errors.New("an earlier swap was neither finished nor rolled back: do that first")
)

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

func (s *SQLite) beside(suffix string) string {
	dir, base := filepath.Split(s.cfg.Path)
	return filepath.Join(dir, "."+base+".understudy-"+suffix)
}

// Staged is the path of the staged database file.
func (s *SQLite) Staged() string { return s.beside("staged") }

func (s *SQLite) staging() string  { return s.beside("staging") } // being built
func (s *SQLite) replaced() string { return s.beside("replaced") }
func (s *SQLite) absent() string   { return s.beside("absent") }

// sqliteState is which of the files exist.
type sqliteState struct{ staged, target, replaced, absent, moved bool }

func (s *SQLite) state() (st sqliteState, err error) {
	for _, f := range []struct {
		path string
		to   *bool
	}{{s.Staged(), &st.staged}, {s.cfg.Path, &st.target}, {s.replaced(), &st.replaced}, {s.absent(), &st.absent}} {
		if *f.to, err = exists(f.path); err != nil {
			return st, err
		}
	}
	for _, side := range sides {
		there, err := exists(s.replaced() + side)
		if err != nil {
			return st, err
		}
		st.moved = st.moved || there
	}
	return st, nil
}

// Space implements Restorer.
func (s *SQLite) Space(e Entry) (string, int64) { return filepath.Dir(s.cfg.Path), e.Size }

// Accept implements Restorer.
func (s *SQLite) Accept(context.Context, Entry) error { return nil }

// Seal implements Restorer. What SQLite keeps beside a database belongs to it.
func (s *SQLite) Seal(context.Context) (string, error) {
	// The file of an index that readers share says nothing.
	seal, err := sealOf(s.Staged())
	if err != nil || seal == "" {
		return "", err
	}
	for _, side := range sides[:2] {
		info, err := os.Lstat(s.Staged() + side)
		if err == nil && info.Size() > 0 {
			return seal + "written to", nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return seal, nil
}

// sameOwner tells whether two dumps gave the file the same mode and owner.
func sameOwner(a, b Entry) bool {
	var x, y sqliteFacts
	if json.Unmarshal(a.Facts, &x) != nil || json.Unmarshal(b.Facts, &y) != nil {
		return false
	}
	return x.Mode == y.Mode && x.UID == y.UID && x.GID == y.GID && x.User == y.User && x.Group == y.Group
}

// Stage implements Restorer. The earlier stage stays until the new one is
// whole.
func (s *SQLite) Stage(ctx context.Context, r *pack.Reader, e Entry) error {
	if err := s.stage(ctx, r, e); err != nil {
		return fmt.Errorf("stage %s: %w", s.name, err)
	}
	return nil
}

func (s *SQLite) stage(ctx context.Context, r *pack.Reader, e Entry) error {
	var facts sqliteFacts
	if err := json.Unmarshal(e.Facts, &facts); err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	st, err := s.state()
	if err != nil {
		return err
	}
	if st.replaced || st.absent || st.moved {
		return errUnfinished
	}
	if err := makeParents(s.cfg.Path, facts.parents(s.cfg.Path)); err != nil {
		return err
	}
	staging, staged := s.staging(), s.Staged()
	if err := streamToFile(ctx, r, e.Root, staging, os.O_TRUNC); err != nil {
		return err
	}
	if err := integrity(ctx, staging); err != nil {
		return errors.Join(err, removeFiles(staging))
	}
	if err := giveAway(staging, fs.FileMode(facts.Mode), facts); err != nil {
		return err
	}
	// Side files belong to the earlier stage: they go before it does.
	if err := removeFiles(withSides(staged)...); err != nil {
		return err
	}
	return s.step("staged", moveFile(staging, staged))
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

// giveAway sets a file's mode and, when run by root, its owner: by name, else by
// number.
func giveAway(path string, mode fs.FileMode, facts sqliteFacts) error {
	if os.Geteuid() == 0 {
		ids := newOwnerIDs()
		if err := os.Lchown(path, int(ids.user(facts.User, facts.UID)), int(ids.group(facts.Group, facts.GID))); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode)
}

// Swap implements Restorer.
func (s *SQLite) Swap(context.Context) error {
	if err := s.swap(); err != nil {
		return fmt.Errorf("swap %s: %w", s.name, err)
	}
	return nil
}

func (s *SQLite) swap() error {
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
		return fmt.Errorf("%s was made again in the midst of a swap", s.cfg.Path)
	}
	if err := s.dropStagedSides(); err != nil {
		return err
	}
	if err := s.moveSides(s.cfg.Path, s.replaced()); err != nil {
		return err
	}
	switch {
	case st.target:
		err = s.step("replace", moveFile(s.cfg.Path, s.replaced()))
	case !st.replaced && !st.absent:
		err = s.step("absent", s.markAbsent())
	}
	if err != nil {
		return err
	}
	return s.step("place", moveFile(s.Staged(), s.cfg.Path))
}

// SwapBack implements Restorer.
func (s *SQLite) SwapBack(context.Context) error {
	if err := s.swapBack(); err != nil {
		return fmt.Errorf("swap back %s: %w", s.name, err)
	}
	return nil
}

func (s *SQLite) swapBack() error {
	st, err := s.state()
	if err != nil {
		return err
	}
	if st.replaced || st.absent {
		if st.target && st.staged {
			return fmt.Errorf("%s was made again in the midst of a swap", s.cfg.Path)
		}
		if err := s.takeBack(st); err != nil {
			return err
		}
	}
	if err := s.moveSides(s.replaced(), s.cfg.Path); err != nil {
		return err
	}
	if err := s.step("drop staged", removeFiles(append(withSides(s.Staged()), s.Staged(), s.staging())...)); err != nil {
		return err
	}
	return s.step("drop absent", removeFiles(s.absent()))
}

// takeBack takes the new database out of its place, with the side files that
// it may have got there, and puts the replaced one in.
func (s *SQLite) takeBack(st sqliteState) error {
	if st.target {
		if err := s.step("take", moveFile(s.cfg.Path, s.Staged())); err != nil {
			return err
		}
	}
	for _, side := range sides {
		if err := s.step("drop"+side, removeFiles(s.cfg.Path+side)); err != nil {
			return err
		}
	}
	if !st.replaced {
		return nil
	}
	return s.step("put back", moveFile(s.replaced(), s.cfg.Path))
}

// Discard implements Restorer.
func (s *SQLite) Discard(context.Context) error {
	if err := s.discard(); err != nil {
		return fmt.Errorf("discard %s: %w", s.name, err)
	}
	return nil
}

func (s *SQLite) discard() error {
	st, err := s.state()
	if err != nil {
		return err
	}
	if st.staged && (st.replaced || st.absent || st.moved) || st.replaced && !st.target {
		return errUnfinished
	}
	paths := append(withSides(s.replaced()), s.replaced(), s.absent())
	paths = append(append(paths, withSides(s.Staged())...), s.Staged(), s.staging())
	for _, path := range paths {
		if err := s.step("drop "+filepath.Base(path), removeFiles(path)); err != nil {
			return err
		}
	}
	return nil
}

// moveSides moves the side files of one database beside another name.
func (s *SQLite) moveSides(from, to string) error {
	for _, side := range sides {
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
func (s *SQLite) dropStagedSides() error {
	for _, side := range sides[:2] {
		info, err := os.Lstat(s.Staged() + side)
		if err == nil && info.Size() > 0 {
			return fmt.Errorf("%s was written to: stage it again", s.Staged())
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return removeFiles(withSides(s.Staged())...)
}

// withSides names the side files of a database.
func withSides(path string) []string {
	paths := make([]string, len(sides))
	for i, side := range sides {
		paths[i] = path + side
	}
	return paths
}

// free refuses to overwrite a side file: somebody opened the database while it
// was being swapped, and which of the two files is right cannot be known.
func (s *SQLite) free(path string) error {
	taken, err := exists(path)
	if err != nil {
		return err
	}
	if taken {
		return fmt.Errorf("%s was opened in the midst of a swap: %s is in the way", s.cfg.Path, path)
	}
	return nil
}

func (s *SQLite) markAbsent() error {
	f, err := os.OpenFile(s.absent(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(s.absent()))
}

// step passes a step's error on and, in tests, stops after the step.
func (s *SQLite) step(name string, err error) error {
	if err != nil {
		return err
	}
	return s.fault(name)
}

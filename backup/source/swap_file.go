package source

import (
	"fmt"
	"os"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// sqliteSite is where a database file is replaced: the real file, whatever links
// lead there, and what lies beside it, all in one held folder.
type sqliteSite struct {
	fsx.Place
	sides []string // of sides; none for a file that is no database
	fault func(step string) error
}

func (s *sqliteSite) staged() string { return beside(s.Name, "staged") }

func (s *sqliteSite) staging() string { return beside(s.Name, "staging") } // being built

func (s *sqliteSite) replaced() string { return beside(s.Name, "replaced") }

func (s *sqliteSite) absent() string { return beside(s.Name, "absent") }

func (s *sqliteSite) dropped() asides {
	if len(s.Missing) > 0 {
		return asides{}
	}
	return asidesIn(s.Dir, beside(s.Name, "dropped"))
}

// exists tells whether something in the folder has the name.
func (s *sqliteSite) exists(name string) (bool, error) {
	p := s.Place
	p.Name = name
	return p.Exists()
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

package swap

import (
	"os"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
)

// The State of a swap of one file can be read off the files. It is Moved when some of
// what SQLite keeps beside a database, the side files, has the name of what was replaced.
//
// Every step is one rename or one removal, made durable before the next. Side
// files go before the database and come back after it, so that no database
// ever has another's side files beside it.

// File is where a database file is replaced: the real file, whatever links
// lead there, and what lies beside it, all in one held folder.
type File struct {
	fsx.Place
	Sides []string // of sides; none for a file that is no database
	Fault func(step string) error
}

// Staged is the name of the stage.
func (s *File) Staged() string { return Beside(s.Name, "staged") }

func (s *File) staging() string { return Beside(s.Name, "staging") } // being built

// Replaced is the name of what a swap has replaced.
func (s *File) Replaced() string { return Beside(s.Name, "replaced") }

func (s *File) absent() string { return Beside(s.Name, "absent") }

// Dropped are the names of what is set aside.
func (s *File) Dropped() Asides {
	if len(s.Missing) > 0 {
		return Asides{}
	}
	return AsidesIn(s.Dir, Beside(s.Name, "dropped"))
}

// exists tells whether something in the folder has the name.
func (s *File) exists(name string) (bool, error) {
	p := s.Place
	p.Name = name
	return p.Exists()
}

// state is which of the files exist.
func (s *File) state() (st State, err error) {
	for _, f := range st.Parts(s.Staged(), s.Name, s.Replaced(), s.absent()) {
		if *f.To, err = s.exists(f.Name); err != nil {
			return st, err
		}
	}
	for _, side := range s.Sides {
		there, err := s.exists(s.Replaced() + side)
		if err != nil {
			return st, err
		}
		st.Moved = st.Moved || there
	}
	return st, nil
}

// Fingerprint is that of the stage, with what SQLite would keep beside it.
func (s *File) Fingerprint() (string, error) {
	if len(s.Missing) > 0 {
		return "", nil
	}
	// The file of an index that readers share says nothing.
	print, err := Fingerprint(s.Dir, s.Staged())
	if err != nil || print == "" {
		return "", err
	}
	for _, side := range s.logs() {
		st, err := s.Dir.Stat(s.Staged() + side)
		if err != nil {
			return "", err
		}
		if st.Size > 0 {
			return print + "written to", nil
		}
	}
	return print, nil
}

// Stage has build fill the file of the name staging, beneath folders like parents.
func (s *File) Stage(parents []meta.Parent, build func(*os.File) error) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	if st.Begun() {
		return source.ErrUnfinished
	}
	if err := meta.MakeParents(&s.Place, parents); err != nil {
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
		if err := s.Dropped().AddFiles(s.withSides(s.Staged())...); err != nil {
			return err
		}
		return s.step("staged", s.put(f))
	})
}

// put gives the file that was built the name of the stage.
func (s *File) put(f *os.File) error {
	err := s.clearWay(s.Staged())
	if err == nil {
		err = s.Dir.Move(s.staging(), s.Staged())
	}
	if err != nil {
		return err
	}
	return s.Dir.Still(s.Staged(), int(f.Fd()))
}

// clearWay sets a folder aside that has the name of a file: nobody who restores has
// made it.
func (s *File) clearWay(name string) error {
	there, err := s.Dir.Stat(name)
	if err == nil && fsx.IsDir(there) {
		err = s.Dropped().AddFiles(name)
	}
	return err
}

// Swap puts the staged file into place, and keeps the replaced one.
func (s *File) Swap() error {
	st, err := s.state()
	if err != nil {
		return err
	}
	if done, err := st.CheckSwap(s.Path()); done || err != nil {
		return err
	}
	if err := s.dropStagedSides(); err != nil {
		return err
	}
	if err := s.moveSides(s.Name, s.Replaced()); err != nil {
		return err
	}
	switch {
	case st.Target:
		err = s.step("replace", s.Dir.Move(s.Name, s.Replaced()))
	case !st.Replaced && !st.Absent:
		err = s.step("absent", s.markAbsent())
	}
	if err != nil {
		return err
	}
	return s.step("place", s.Dir.Move(s.Staged(), s.Name))
}

// SwapBack puts the replaced file back into place, if it was replaced.
func (s *File) SwapBack() error {
	st, err := s.state()
	if err != nil {
		return err
	}
	begun, err := st.CheckSwapBack(s.Path())
	if err == nil && begun {
		err = s.takeBack(st)
	}
	if err != nil {
		return err
	}
	if err := s.moveSides(s.Replaced(), s.Name); err != nil {
		return err
	}
	if err := s.step("drop staged", s.Dropped().AddFiles(append(s.withSides(s.Staged()), s.Staged(), s.staging())...)); err != nil {
		return err
	}
	return s.step("drop absent", s.remove(s.absent()))
}

// takeBack takes the new database out of its place, with the side files that
// it may have got there, and puts the replaced one in.
func (s *File) takeBack(st State) error {
	if st.Target {
		if err := s.step("take", s.Dir.Move(s.Name, s.Staged())); err != nil {
			return err
		}
	}
	for _, side := range s.Sides {
		if err := s.step("drop"+side, s.Dropped().AddFiles(s.Name+side)); err != nil {
			return err
		}
	}
	if !st.Replaced {
		return nil
	}
	return s.step("put back", s.Dir.Move(s.Replaced(), s.Name))
}

// Discard sets aside what is left of a swap.
func (s *File) Discard() error {
	st, err := s.state()
	if err != nil {
		return err
	}
	if err := st.CheckDiscard(); err != nil {
		return err
	}
	names := append(s.withSides(s.Replaced()), s.Replaced(), s.absent())
	names = append(append(names, s.withSides(s.Staged())...), s.Staged(), s.staging())
	for _, name := range names {
		if err := s.step("drop "+name, s.Dropped().AddFiles(name)); err != nil {
			return err
		}
	}
	return nil
}

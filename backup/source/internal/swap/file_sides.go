package swap

import (
	"errors"
	"fmt"
)

// moveSides moves the side files of one database beside another name.
func (s *File) moveSides(from, to string) error {
	for _, side := range s.Sides {
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
func (s *File) dropStagedSides() error {
	for _, side := range s.logs() {
		st, err := s.Dir.Stat(s.Staged() + side)
		if err != nil {
			return err
		}
		if st.Size > 0 {
			return fmt.Errorf("%s was written to: stage it again", s.Dir.Path(s.Staged()))
		}
	}
	return s.remove(s.withSides(s.Staged())...)
}

// withSides names what lies beside the file of that name.
func (s *File) withSides(name string) []string {
	names := make([]string, len(s.Sides))
	for i, side := range s.Sides {
		names[i] = name + side
	}
	return names
}

// logs are the side files that have something which belongs into the database.
func (s *File) logs() []string { return s.Sides[:min(len(s.Sides), 2)] }

// free refuses to overwrite a side file: somebody opened the database while it
// was being swapped, and which of the two files is right cannot be known.
func (s *File) free(name string) error {
	taken, err := s.exists(name)
	if err != nil {
		return err
	}
	if taken {
		return fmt.Errorf("%s was opened in the midst of a swap: %s is in the way", s.Path(), s.Dir.Path(name))
	}
	return nil
}

func (s *File) markAbsent() error {
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
func (s *File) remove(names ...string) error {
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
func (s *File) step(name string, err error) error {
	if err != nil {
		return err
	}
	return s.Fault(name)
}

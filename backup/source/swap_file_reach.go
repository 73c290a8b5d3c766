package source

import (
	"context"

	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/pack"
)

func (s *sqliteSite) reach() (Reach, error) {
	st, err := s.state()
	switch {
	case err != nil:
		return ReachNone, err
	case (st.replaced || st.absent) && st.target && !st.staged:
		return ReachPlaced, nil
	case st.replaced || st.absent || st.moved:
		return ReachBegun, nil
	case st.staged:
		return ReachStaged, nil
	}
	return ReachNone, nil
}

// keep renames what was replaced: what SQLite kept beside it first, so that the
// name of the database itself tells that all is done.
func (s *sqliteSite) keep() (string, error) {
	there, err := s.exists(s.replaced())
	if err != nil || !there {
		return "", err
	}
	to, err := freeName(s.Dir, beside(s.Name, "kept"))
	if err != nil {
		return "", err
	}
	if err := s.moveSides(s.replaced(), to); err != nil {
		return "", err
	}
	return s.Dir.Path(to), s.step("keep for good", s.Dir.Move(s.replaced(), to))
}

// places are a file and what belongs beside it.
func (s *sqliteSite) places(name string) []holder.Place {
	places := []holder.Place{{Path: s.Dir.Path(name)}}
	for _, side := range s.withSides(name) {
		places = append(places, holder.Place{Path: s.Dir.Path(side)})
	}
	return places
}

// checkObstacles fails where a swap of the file would be refused.
func (s *sqliteSite) checkObstacles() error {
	for _, name := range append(s.withSides(s.Name), s.Name) {
		at := s.Place
		at.Name = name
		if err := checkRename(at); err != nil {
			return err
		}
	}
	return nil
}

func (s *sqliteSite) distrust(ctx context.Context, r *pack.Reader, e Entry, spot Spot) (bad bool, err error) {
	return distrustFile(ctx, r, s.Beside(s.staged()), e, spot, func() error {
		return s.dropped().addFiles(append(s.withSides(s.staged()), s.staged())...)
	})
}

package swap

import (
	"context"

	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/reread"
)

// Reach tells by which files there are how far a swap has come.
func (s *File) Reach() (source.Reach, error) {
	st, err := s.state()
	if err != nil {
		return source.ReachNone, err
	}
	return st.Reach(), nil
}

// Keep renames what was replaced: what SQLite kept beside it first, so that the
// name of the database itself tells that all is done.
func (s *File) Keep() (string, error) {
	there, err := s.exists(s.Replaced())
	if err != nil || !there {
		return "", err
	}
	to, err := FreeName(s.Dir, Beside(s.Name, "kept"))
	if err != nil {
		return "", err
	}
	if err := s.moveSides(s.Replaced(), to); err != nil {
		return "", err
	}
	return s.Dir.Path(to), s.step("keep for good", s.Dir.Move(s.Replaced(), to))
}

// Places are a file and what belongs beside it.
func (s *File) Places(name string) []holder.Place {
	places := []holder.Place{{Path: s.Dir.Path(name)}}
	for _, side := range s.withSides(name) {
		places = append(places, holder.Place{Path: s.Dir.Path(side)})
	}
	return places
}

// CheckObstacles fails where a swap of the file would be refused.
func (s *File) CheckObstacles() error {
	for _, name := range append(s.withSides(s.Name), s.Name) {
		at := s.Place
		at.Name = name
		if err := CheckRename(at); err != nil {
			return err
		}
	}
	return nil
}

// Distrust reads the stage again from a spot, and sets it aside if it is bad.
func (s *File) Distrust(ctx context.Context, r *pack.Reader, e source.Entry, spot source.Spot) (bad bool, err error) {
	return reread.Distrust(ctx, r, s.Beside(s.Staged()), e, spot, func() error {
		return s.Dropped().AddFiles(append(s.withSides(s.Staged()), s.Staged())...)
	})
}

package filestore

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/understudy-ha/understudy/blobstore"
)

var _ blobstore.Strangers = (*Store)(nil)

// errFound ends a walk.
var errFound = errors.New("found")

// Stranger implements blobstore.Strangers. Empty folders do not count.
func (s *Store) Stranger(ctx context.Context) (string, error) {
	var stranger string
	err := filepath.WalkDir(s.path(""), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrPermission): // such as lost+found, whose content is no store's
			return fs.SkipDir
		case err != nil:
			return err
		}
		name, err := filepath.Rel(s.path(""), path)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name == ownDir:
			return fs.SkipDir
		case !entry.IsDir() && blobstore.CheckKey(filepath.ToSlash(name)) != nil:
			stranger = name
			return errFound
		}
		return nil
	})
	if err != nil && !missing(err) && !errors.Is(err, errFound) {
		return "", translate("list", "", err)
	}
	return stranger, nil
}

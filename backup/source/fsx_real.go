package source

import (
	"path/filepath"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// resolveTarget returns where a path leads now: see fsx.Resolve.
//
// All kinds of sources resolve their paths there, each time that they use them:
// a link may lead elsewhere tomorrow. What a source makes or replaces lies
// beside the real target, so no link is ever replaced.
func resolveTarget(path string) (string, error) {
	p, err := fsx.Resolve(path)
	if err != nil {
		return "", err
	}
	defer p.Close()
	return p.Path(), nil
}

// placeOr is where a path leads, or the path itself where that cannot be known.
func placeOr(path string) string {
	if real, err := resolveTarget(path); err == nil {
		return real
	}
	return path
}

// atPlace does something in the folder into which a path leads now.
func atPlace(path string, do func(fsx.Place) error) error {
	p, err := fsx.Resolve(path)
	if err != nil {
		return err
	}
	defer func() { p.Close() }()
	return do(p)
}

// nearest is the folder at path or, where that is missing, the first one above
// it that exists.
func nearest(path string) (string, error) {
	for {
		there, err := exists(path)
		if err != nil || there || path == filepath.Dir(path) {
			return path, err
		}
		path = filepath.Dir(path)
	}
}

package fsx

import (
	"path/filepath"
)

// RealPath returns where a path leads now: see Resolve.
//
// All kinds of sources resolve their paths there, each time that they use them:
// a link may lead elsewhere tomorrow. What a source makes or replaces lies
// beside the real target, so no link is ever replaced.
func RealPath(path string) (string, error) {
	p, err := Resolve(path)
	if err != nil {
		return "", err
	}
	defer p.Close()
	return p.Path(), nil
}

// RealPathOr is where a path leads, or the path itself where that cannot be known.
func RealPathOr(path string) string {
	if real, err := RealPath(path); err == nil {
		return real
	}
	return path
}

// At does something in the folder into which a path leads now.
func At(path string, do func(Place) error) error {
	p, err := Resolve(path)
	if err != nil {
		return err
	}
	defer func() { p.Close() }()
	return do(p)
}

// Nearest is the folder at path or, where that is missing, the first one above
// it that exists.
func Nearest(path string) (string, error) {
	for {
		there, err := Exists(path)
		if err != nil || there || path == filepath.Dir(path) {
			return path, err
		}
		path = filepath.Dir(path)
	}
}

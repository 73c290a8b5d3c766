package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

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

// isMountPoint tells whether a file system is mounted at a place.
func isMountPoint(p fsx.Place) (bool, error) {
	here, err := p.Stat()
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	above, err := p.Dir.Self()
	if err != nil {
		return false, err
	}
	mounts, err := mountPoints()
	return here.Dev != above.Dev || slices.Contains(mounts, p.Path()), err
}

// checkPlace tells whether the folder at a place (which may be missing) can be
// replaced by way of a folder on the same file system. inside says that this is made
// in the folder itself.
func checkPlace(p fsx.Place, inside bool) error {
	path := p.Path()
	if path == "/" {
		return errors.New("the root of a file system cannot be swapped; name a folder in it")
	}
	mounts, err := mountPoints()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if strings.HasPrefix(m, path+"/") {
			return fmt.Errorf("%s is a mount point inside of %s, which therefore cannot be swapped; make it a source of its own, and name folders that hold no mount point", m, path)
		}
	}
	if inside {
		dir, err := p.Dir.Folder(p.Name)
		if err != nil {
			return err
		}
		defer dir.Close()
		p = fsx.Place{Dir: dir}
	}
	if err := checkWritable(p); err != nil {
		return fmt.Errorf("stage a restore of %s beside it: %w", path, err)
	}
	return nil
}

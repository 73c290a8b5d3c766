package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symlinks in a row are followed, as in the kernel.
const maxLinks = 40

// resolveTarget follows path if it is a symlink, and those in its parents. The
// last one may lead to something that does not exist yet. Folders above path may
// be missing, as on a host where the application never ran; what a symlink leads
// into may not: it is taken for a file system that is not mounted.
func resolveTarget(path string) (string, error) {
	named := path
	for range maxLinks {
		link, err := os.Readlink(path)
		switch {
		case err == nil && filepath.IsAbs(link):
			path = link
			continue
		case err == nil:
			path = filepath.Join(filepath.Dir(path), link)
			continue
		case errors.Is(err, unix.EINVAL), errors.Is(err, fs.ErrNotExist):
		default:
			return "", err
		}
		parent, err := realFolder(filepath.Dir(path), path == named)
		if err != nil {
			return "", err
		}
		return filepath.Join(parent, filepath.Base(path)), nil
	}
	return "", fmt.Errorf("resolve %s: %w", path, unix.ELOOP)
}

// realFolder follows the symlinks in the path of a folder. With missing, the
// last folders of the path need not exist.
func realFolder(path string, missing bool) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if link, failed := exists(path); failed != nil || link || !missing {
		return "", errors.Join(failed, fmt.Errorf("the folder %s is missing where a symlink leads; mount or create it: %w", path, err))
	}
	above, err := realFolder(filepath.Dir(path), missing)
	return filepath.Join(above, filepath.Base(path)), err
}

// isMountPoint tells whether a file system is mounted at path.
func isMountPoint(path string) (bool, error) {
	var here, above unix.Stat_t
	err := unix.Lstat(path, &here)
	if err == unix.ENOENT {
		return false, nil
	}
	if err == nil {
		err = unix.Lstat(filepath.Dir(path), &above)
	}
	if err != nil {
		return false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	mounts, err := mountPoints()
	return here.Dev != above.Dev || slices.Contains(mounts, path), err
}

// checkPlace tells whether the folder at path (which may be missing) can be
// replaced by way of a folder on the same file system.
func checkPlace(path, folder string) error {
	if path == filepath.Dir(path) {
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
	if strings.HasPrefix(folder, path+"/") {
		folder = path // where it is made
	}
	if err := checkWritable(folder); err != nil {
		return fmt.Errorf("stage a restore of %s beside it: %w", path, err)
	}
	return nil
}

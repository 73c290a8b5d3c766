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

// maxLinks is how many symbolic links are followed for one path, as in the
// kernel.
const maxLinks = 40

// resolveTarget follows every symbolic link in path, and returns where the path
// leads now. That need not exist. Folders above path may be missing, as on a host
// where the application never ran; what a symbolic link leads into may not: it is
// taken for a file system that is not mounted.
//
// All kinds of sources resolve their paths here, each time that they use them:
// a link may lead elsewhere tomorrow. What a source makes or replaces lies
// beside the real target, so no link is ever replaced.
func resolveTarget(path string) (string, error) {
	at, rest, link := "/", components(path), ""
	after := 0 // how many names of rest come after those of link
	for followed := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		to, err := os.Readlink(next)
		switch {
		case err == nil:
			if followed++; followed > maxLinks {
				return "", fmt.Errorf("resolve %s: %w", path, unix.ELOOP)
			}
			if filepath.IsAbs(to) {
				at = "/"
			}
			after, link = len(rest)-1, next
			rest = append(components(to), rest[1:]...)
		case errors.Is(err, unix.EINVAL): // no link
			at, rest = next, rest[1:]
		case errors.Is(err, fs.ErrNotExist):
			real := filepath.Join(append([]string{at}, rest...)...)
			if link != "" && len(rest) > max(1, after) {
				return "", fmt.Errorf("the symbolic link %s leads to %s, but there is no %s: mount or create it, or correct the link: %w", link, real, next, err)
			}
			return real, nil
		default:
			return "", err
		}
	}
	return at, nil
}

// components are the names that a path is made of.
func components(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
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

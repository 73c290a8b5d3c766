package source

import (
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// beside is the name of a helper of a file or folder, in the same folder.
func beside(name, suffix string) string { return "." + name + ".understudy-" + suffix }

// besides is the path of such a helper.
func besides(path, suffix string) string {
	return filepath.Join(filepath.Dir(path), beside(filepath.Base(path), suffix))
}

var errNothingStaged = errors.New("nothing is staged")

func noFault(string) error { return nil }

func isFolder(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

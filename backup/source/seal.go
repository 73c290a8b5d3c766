package source

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// sealOf describes files and folders by what changes when somebody writes to
// them or puts others in their place. Empty when the first one is missing.
func sealOf(paths ...string) (string, error) {
	var b strings.Builder
	for i, path := range paths {
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", &fs.PathError{Op: "stat", Path: path, Err: err}
		}
		if err != nil && i == 0 {
			return "", nil
		}
		fmt.Fprintf(&b, "%s %d %d %d.%09d %d.%09d\n", path, st.Ino, st.Size,
			st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec)
	}
	return b.String(), nil
}

package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// ErrNoSpace means that a file system has too little free space for what was
// asked. Nothing was begun, or what was begun has been removed.
var ErrNoSpace = errors.New("not enough free space")

// margin is what is left free, for the file system's own needs and for others.
const margin = 64 << 20

// fileSystem is the one that a folder lies on, or will.
type fileSystem struct {
	device uint64
	free   int64 // bytes that this user may still write
}

// statFS looks at the file system of path, or of the nearest parent that
// exists.
func statFS(path string) (fileSystem, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return fileSystem{}, fmt.Errorf("check free space: %w", err)
	}
	for {
		var st unix.Stat_t
		var sf unix.Statfs_t
		err := unix.Stat(path, &st)
		if err == nil {
			err = unix.Statfs(path, &sf)
		}
		parent := filepath.Dir(path)
		if errors.Is(err, fs.ErrNotExist) && parent != path {
			path = parent
			continue
		}
		if err != nil {
			return fileSystem{}, fmt.Errorf("check free space: %w", &os.PathError{Op: "statfs", Path: path, Err: err})
		}
		return fileSystem{device: uint64(st.Dev), free: int64(sf.Bavail) * int64(sf.Bsize)}, nil //nolint:unconvert // types differ between systems
	}
}

// noSpace says what is missing where.
func noSpace(folder string, need, free int64) error {
	return fmt.Errorf("%w in %s: %s needed (%s of it to stay free), %s available", ErrNoSpace, folder,
		humanize.IBytes(uint64(need+margin)), humanize.IBytes(margin), humanize.IBytes(uint64(max(free, 0))))
}

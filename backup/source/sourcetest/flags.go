package sourcetest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// Flags that tests set: see chattr.
const (
	Immutable  = 0x10 // FS_IMMUTABLE_FL
	AppendOnly = 0x20
	NoDump     = 0x40
	NoAccess   = 0x80
)

// Flag sets a file's flags, of those that tests set.
func Flag(t *testing.T, path string, flags int) {
	t.Helper()
	f, err := os.Open(path)
	Must(t, err)
	defer f.Close()
	is, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	Must(t, err)
	const set = Immutable | AppendOnly | NoDump | NoAccess
	Must(t, unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(is)&^set|flags))
}

// Unlock clears the flags of the files in a folder.
func Unlock(t *testing.T, dir string) {
	t.Helper()
	Must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Name() == "locked" {
			Flag(t, path, 0)
		}
		return err
	}))
}

// Identity is the inode number of what lies at a path.
func Identity(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	Must(t, unix.Lstat(path, &st))
	return st.Ino
}

// Flagged sets the flags of a file or folder until the end of the test.
func Flagged(t *testing.T, path string, flags int) {
	t.Helper()
	Flag(t, path, flags)
	t.Cleanup(func() { Flag(t, path, 0) })
}

// FlagWarning is what a backup says of inode flags.
func FlagWarning(t *testing.T, e source.Entry) string {
	t.Helper()
	at := slices.IndexFunc(e.Warnings, func(text string) bool { return strings.Contains(text, "(chattr)") })
	if at < 0 {
		return ""
	}
	return e.Warnings[at]
}

// attributesOf are the extended attributes of what a path leads to.
func attributesOf(t *testing.T, path string) []tree.Xattr {
	t.Helper()
	x, err := meta.PathXattrs(path).Read()
	Must(t, err)
	return slices.DeleteFunc(x, func(x tree.Xattr) bool { return strings.HasPrefix(x.Name, "security.") })
}

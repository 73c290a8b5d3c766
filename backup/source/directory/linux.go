package directory

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// syncTree makes a new folder durable with all that is in it. One syncfs is an
// order of magnitude faster than an fsync of each file, and since Linux 5.8 it
// reports what failed to be written.
func syncTree(fd int, path string) error {
	if err := unix.Syncfs(fd); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", path, err)
	}
	return nil
}

// makeNode makes a fifo or a device in a folder.
func makeNode(in *opendir.Dir, name string, kind tree.NodeType, device uint64) error {
	mode := map[tree.NodeType]uint32{tree.Fifo: unix.S_IFIFO, tree.CharDevice: unix.S_IFCHR, tree.BlockDevice: unix.S_IFBLK}[kind]
	return unix.Mknodat(in.FD, name, mode|0o600, int(device))
}

// Package inodeflag reads the inode flags of files, which chattr sets. No backup keeps
// them: a restored file that is immutable could neither be finished nor replaced, and
// most of the others fit one file system only. So a backup says which entries have
// some.
package inodeflag

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/opened"
)

// All are the flags that somebody may miss, in the words of chattr's manual.
// The others say how a file system has stored a file.
var All = []struct {
	Bit  uint32
	Name string
}{
	{0x10, "immutable"}, {0x20, "append-only"}, {0x40, "no dump"}, {0x800000, "no copy-on-write"},
	{0x80, "no access times"}, {0x8, "synchronous"}, {0x10000, "synchronous folder"}, {0x4000, "journaled data"},
	{0x4, "compressed"}, {0x400, "not compressed"}, {0x800, "encrypted"}, {0x100000, "verity"},
	{0x40000000, "case-insensitive"}, {0x20000000, "project quota"}, {0x2000000, "direct access"},
	{0x1, "deleted securely"}, {0x2, "undeletable"}, {0x8000, "no tail merging"}, {0x20000, "top of a hierarchy"},
}

// Of are those of an open file or folder. The error says that its file
// system has no such thing.
func Of(fd int) (lost uint32, err error) {
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	for _, f := range All {
		lost |= flags & f.Bit
	}
	return lost, err
}

// Names names flags.
func Names(flags uint32) string {
	var names []string
	for _, f := range All {
		if flags&f.Bit != 0 {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

// Warnings says which flags a single file has.
func Warnings(at fsx.Place) ([]string, error) {
	f, err := at.Open()
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		_ = f.Close()
		return nil, err
	}
	defer opened.Here.Close(opened.FileIDOf(&st), f)
	if flags, err := Of(int(f.Fd())); err == nil && flags != 0 {
		return []string{fmt.Sprintf("%s has inode flags (chattr), which no backup keeps: %s", at.Path(), Names(flags))}, nil
	}
	return nil, nil
}

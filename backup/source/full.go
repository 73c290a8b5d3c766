package source

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// ErrFull means that a disk is full.
var ErrFull = errors.New("the disk is full")

// hardlyAny is less room, in bytes, than it takes to go on.
const hardlyAny = 1 << 20

// SayFull says of an error that a full disk may have caused which of the folders'
// disks is full, how much room is left and how much is needed (0: not known).
func SayFull(err error, need int64, folders ...string) error {
	if err == nil || errors.Is(err, ErrFull) || !maybeFull(err) {
		return err
	}
	for _, folder := range slices.Compact(folders) {
		var s unix.Statfs_t
		if folder == "" || unix.Statfs(folder, &s) != nil {
			continue
		}
		free := int64(s.Bavail) * s.Bsize
		noInodes := s.Files > 0 && s.Ffree == 0
		if free >= hardlyAny && free >= need && !noInodes {
			continue
		}
		room := humanize.IBytes(uint64(max(0, free))) + " free"
		if noInodes {
			room = "no inode free"
		}
		if need > 0 {
			room += ", about " + humanize.IBytes(uint64(need)) + " needed"
		}
		return fmt.Errorf("%w that %s lies on (%s): make room: %w", ErrFull, folder, room, err)
	}
	return err
}

func maybeFull(err error) bool {
	for _, kind := range kinds {
		if kind.MaybeFull != nil && kind.MaybeFull(err) {
			return true
		}
	}
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

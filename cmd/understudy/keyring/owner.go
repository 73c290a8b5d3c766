package keyring

import (
	"os"
	"syscall"
)

// owner is whom a file belongs to.
type owner struct{ uid, gid int }

func ownerOf(path string) (owner, error) {
	info, err := os.Stat(path)
	if err != nil {
		return owner{}, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return owner{uid: -1, gid: -1}, nil // chown leaves it alone
	}
	return owner{uid: int(s.Uid), gid: int(s.Gid)}, nil
}

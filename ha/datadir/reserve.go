package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// reserveSize is the room that is kept for what the agent must write to go on:
// the journal, and little else. Each takes a few kilobytes, in place of the one
// before.
const reserveSize = 1 << 20

// LowRoom is how little room in the folder is a trouble.
const LowRoom = 8 * reserveSize

// reserve is room in the data folder that nobody else can take: a file that is
// given up when the disk is full. So a full disk neither ends the agent nor keeps
// it from being started. It is safe for concurrent use.
type reserve struct {
	path string

	mu   sync.Mutex
	kept bool
}

// keep takes the room, where there is more than that.
func (r *reserve) keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept || room(r.path) < 2*reserveSize && !r.there() {
		return
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, reserveSize)
	_ = f.Close()
	if err != nil { // such as a file system that cannot: then there is none
		_ = os.Remove(r.path)
	}
	r.kept = err == nil || errors.Is(err, unix.EOPNOTSUPP)
}

func (r *reserve) there() bool {
	info, err := os.Stat(r.path)
	return err == nil && info.Size() == reserveSize
}

// spend gives the room up.
func (r *reserve) spend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = os.Remove(r.path)
	r.kept = false
}

// room is how much is free where a file lies; a lot where that is not known.
func room(path string) int64 {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return LowRoom
	}
	defer dir.Close()
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &s); err != nil {
		return LowRoom
	}
	return int64(s.Bavail) * s.Bsize
}

// IsFull reports whether the folder's disk is as good as full.
func (d *Dir) IsFull() bool { return room(d.reserve.path) < LowRoom }

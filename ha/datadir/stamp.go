package datadir

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A data folder that was copied, or put back from a copy, knows all that the
// original knew. What no copy has is the file itself: the journal says when the
// file that it lies in was born, and on which host. Whoever copies it makes another
// file. A copy below the file system (a cloned disk, a snapshot of a volume) is told
// by the host alone, if at all: the head has to tell it.

// stamp is what a journal says of its own file and of its host.
type stamp struct {
	// Born is when the file was made, in nanoseconds, by its file system; 0: that
	// is not known.
	Born int64 `json:"born,omitempty"`
	// Machine and Board tell hosts apart; "": not known.
	Machine string `json:"machine,omitempty"`
	Board   string `json:"board,omitempty"`
}

// differs says why a file with this stamp is not the one that was stamped; "": it
// may be.
func (s stamp) differs(was stamp) string {
	known := func(x, y string) bool { return x != "" && y != "" && x != y }
	switch {
	case known(s.Machine, was.Machine), known(s.Board, was.Board):
		return "it was written on another host"
	case s.Born != 0 && was.Born != 0 && s.Born != was.Born:
		return "its journal is not the file that the agent has written"
	}
	return ""
}

// doubtText is what is said of a data folder that may be a copy.
const doubtText = "this data folder was copied, moved or put back: %s; its application stays stopped, and nothing is written in its name. If it is meant to be here, and its original runs nowhere: stop the agent, accept it with: understudy accept-host, and start the agent again. If not: promote this instance (understudy promote --failover), or stop its agent and join it afresh with: understudy join --replace"

// stampOf reads the stamp of an open file.
func stampOf(f *os.File, host stamp) (stamp, error) {
	if !keepsBirth(f) {
		return host, nil
	}
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st); err != nil {
		return host, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		host.Born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return host, nil
}

// keepsBirth reports whether a file's time of birth stays what it is for as long
// as the file is there. Network file systems do not promise that.
func keepsBirth(f *os.File) bool {
	var at unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &at); err != nil {
		return false
	}
	const zfs, bcachefs = 0x2fc12fc1, 0xca451a4e
	switch int64(at.Type) { //nolint:unconvert // its type is not the same on all architectures
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, zfs, bcachefs:
		return true
	}
	return false
}

// thisHost is what tells this host from others. In a container nothing does: it is
// made anew at will, on any host, and its data folder is a volume.
func thisHost() stamp {
	if contained() {
		return stamp{}
	}
	var s stamp
	if _, err := os.Stat("/run/machine-id"); err != nil { // else it is made anew at each boot
		s.Machine = hashed("/etc/machine-id")
	}
	s.Board = hashed("/sys/class/dmi/id/product_uuid")
	return s
}

// contained reports whether this process runs in a container, as far as that shows.
func contained() bool {
	for _, sign := range []string{"/.dockerenv", "/run/.containerenv", "/run/systemd/container", "/var/run/secrets/kubernetes.io"} {
		if _, err := os.Stat(sign); err == nil {
			return true
		}
	}
	var root unix.Statfs_t
	return unix.Statfs("/", &root) != nil || int64(root.Type) == unix.OVERLAYFS_SUPER_MAGIC //nolint:unconvert // see above
}

// hashed is a digest of a file's line; "" where there is none, or it says nothing.
// The line itself is not for others.
func hashed(path string) string {
	data, err := os.ReadFile(path)
	text := strings.TrimSpace(string(data))
	if err != nil || text == "" || text == "uninitialized" {
		return ""
	}
	sum := sha256.Sum256([]byte("understudy " + text))
	return hex.EncodeToString(sum[:8])
}

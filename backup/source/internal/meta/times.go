package meta

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ModTime is when the content of a file changed last.
func ModTime(st *unix.Stat_t) time.Time { return time.Unix(st.Mtim.Unix()) }

// ChangeTime is when a file changed last in any way.
func ChangeTime(st *unix.Stat_t) time.Time { return time.Unix(st.Ctim.Unix()) }

// SetTime sets when the content of an open file changed last.
func SetTime(f *os.File, to time.Time) error {
	mtime, err := unix.TimeToTimespec(to)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), []unix.Timespec{mtime, mtime}, 0)
}

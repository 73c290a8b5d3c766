package source

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

func modTime(st *unix.Stat_t) time.Time { return time.Unix(st.Mtim.Unix()) }

func changeTime(st *unix.Stat_t) time.Time { return time.Unix(st.Ctim.Unix()) }

func setTime(f *os.File, to time.Time) error {
	mtime, err := unix.TimeToTimespec(to)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), []unix.Timespec{mtime, mtime}, 0)
}

package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
)

const mountInfo = "/proc/self/mountinfo"

// ReadMounts reads this process's view of what is mounted, in the order in which
// it was. It is empty without /proc.
func ReadMounts() ([]*mountinfo.Info, error) {
	f, err := os.Open(mountInfo)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mounts, err := mountinfo.GetMountsFromReader(f, nil)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", mountInfo, err)
	}
	return mounts, nil
}

// MountPoints lists where file systems are mounted in this process's view.
func MountPoints() ([]string, error) {
	mounts, err := ReadMounts()
	points := make([]string, len(mounts))
	for i, m := range mounts {
		points[i] = m.Mountpoint
	}
	return points, err
}

// Within lists the mount points below path.
func Within(path string, mounts []*mountinfo.Info) []string {
	var within []string
	for _, m := range mounts {
		if strings.HasPrefix(m.Mountpoint, path+"/") && !slices.Contains(within, m.Mountpoint) {
			within = append(within, m.Mountpoint)
		}
	}
	slices.Sort(within)
	return within
}

// Of finds the file system that path lies on. Where path is missing it is
// the one that it would be made on.
func Of(path string, mounts []*mountinfo.Info) (Volume, error) {
	at, err := fsx.Nearest(path)
	if err != nil {
		return Volume{}, err
	}
	// A folder is opened for reading, which mounts what mounts itself on demand.
	fd, err := opendir.RetryOpen(unix.AT_FDCWD, at, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err == unix.ENOTDIR || err == unix.EACCES {
		fd, err = opendir.RetryOpen(unix.AT_FDCWD, at, unix.O_PATH, 0)
	}
	if err != nil {
		return Volume{}, &fs.PathError{Op: "open", Path: at, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	var sf unix.Statfs_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Fstatfs(fd, &sf)); err != nil {
		return Volume{}, &fs.PathError{Op: "stat the file system of", Path: at, Err: err}
	}
	m, err := mountOf(fd, at, mounts)
	if err != nil {
		return Volume{}, err
	}
	v := Volume{Path: path, Mount: m.Mountpoint, Folder: dirIn(m, path), Type: m.FSType, Device: m.Source, UUID: uuidOf(uint64(st.Dev), m.Source)}
	if id := uint64(uint32(sf.Fsid.Val[0]))<<32 | uint64(uint32(sf.Fsid.Val[1])); id != 0 && !slices.Contains(fleeting, m.FSType) {
		v.FSID = fmt.Sprintf("%016x", id)
	}
	v.Unmounted, err = unmounted(path, mounts)
	return v, err
}

// dirIn is what a path below the mount point is within the file system, which
// may have been mounted in part.
func dirIn(m *mountinfo.Info, path string) string {
	within, err := filepath.Rel(m.Mountpoint, path)
	if err != nil {
		within = path
	}
	return filepath.Join(m.Root, within)
}

// fleeting are the types of file systems whose id is made of the device's number,
// which may be another after the next start of the host, or of less.
var fleeting = []string{"xfs", "vfat", "msdos", "exfat", "f2fs", "nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "ramfs", "overlay", "squashfs"}

// mountOf finds the mount that an open file is reached by. The kernel says which;
// where it does not, the last one of the longest point above path is it.
func mountOf(fd int, path string, mounts []*mountinfo.Info) (*mountinfo.Info, error) {
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err == nil {
		for line := range strings.Lines(string(info)) {
			id, found := strings.CutPrefix(line, "mnt_id:")
			if i := slices.IndexFunc(mounts, func(m *mountinfo.Info) bool { return found && strconv.Itoa(m.ID) == strings.TrimSpace(id) }); i >= 0 {
				return mounts[i], nil
			}
		}
	}
	best := &mountinfo.Info{Mountpoint: "/", Root: "/"}
	for _, m := range mounts {
		if (path == m.Mountpoint || m.Mountpoint == "/" || strings.HasPrefix(path, m.Mountpoint+"/")) && len(m.Mountpoint) >= len(best.Mountpoint) {
			best = m
		}
	}
	return best, nil
}

const diskIDs = "/dev/disk/by-uuid"

// uuidOf finds the UUID of the file system on a block device: the one with the
// number, or, of a file system that has none of its own, the one with the name.
// It is "" where the host does not tell.
func uuidOf(number uint64, device string) string {
	var st unix.Stat_t
	if strings.HasPrefix(device, "/dev/") && unix.Stat(device, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK {
		number = uint64(st.Rdev)
	}
	ids, err := os.ReadDir(diskIDs)
	if err != nil {
		return ""
	}
	for _, id := range ids {
		if unix.Stat(filepath.Join(diskIDs, id.Name()), &st) == nil && uint64(st.Rdev) == number {
			return id.Name()
		}
	}
	return ""
}

const mountTable = "/etc/fstab"

// unmounted lists the mount points at path and above it which the host's table
// of file systems names, and where nothing is mounted.
func unmounted(path string, mounts []*mountinfo.Info) ([]string, error) {
	table, err := os.ReadFile(mountTable)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return missingMounts(string(table), path, mounts), nil
}

func missingMounts(table, path string, mounts []*mountinfo.Info) []string {
	var missing []string
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 3 || strings.HasPrefix(f[0], "#") || f[2] == "swap" || !strings.HasPrefix(f[1], "/") {
			continue
		}
		if len(f) > 3 && slices.Contains(strings.Split(f[3], ","), "noauto") {
			continue
		}
		point := filepath.Clean(unescapeTable(f[1]))
		if real, err := filepath.EvalSymlinks(point); err == nil {
			point = real
		}
		if point == "/" || path != point && !strings.HasPrefix(path, point+"/") {
			continue
		}
		if !slices.ContainsFunc(mounts, func(m *mountinfo.Info) bool { return m.Mountpoint == point }) {
			missing = append(missing, point)
		}
	}
	return missing
}

// unescapeTable undoes the \040 that stands for a space: see fstab(5).
func unescapeTable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

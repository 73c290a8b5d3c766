// Package volume tells which file system something lies on, and whether it is still the
// one that it was.
package volume

import (
	"fmt"
	"slices"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// Volume is the file system that a folder or a file lies on, as it is told apart
// from others after a restart of the host too.
type Volume struct {
	Named  string `json:"named,omitempty"` // the path as it is configured
	Path   string `json:"path"`            // of what lies on it, where symlinks lead
	Mount  string `json:"mount"`           // where it is mounted
	Folder string `json:"folder"`          // what Path is within it
	Type   string `json:"type"`            // ext4, nfs4, …
	Device string `json:"device"`          // /dev/sdb1, server:/export, …
	UUID   string `json:"uuid,omitempty"`  // where the host knows it
	FSID   string `json:"fsid,omitempty"`  // where that stays the same
	// Unmounted are the mount points at Path or above it that /etc/fstab names,
	// and where nothing is mounted.
	Unmounted []string `json:"unmounted,omitempty"`
}

// OfFile is the file system of a file.
func OfFile(named string) ([]Volume, error) {
	path, err := fsx.RealPath(named)
	if err != nil {
		return nil, err
	}
	mounts, err := ReadMounts()
	if err != nil {
		return nil, err
	}
	v, err := Of(path, mounts)
	v.Named = named
	return []Volume{v}, err
}

// Moved says what is different about the file systems of a source since they
// were was; nil for nothing. One that was mounted within the source counts while
// held says that the last backup has files of it. One that is mounted there now,
// and was not, is for the next comparison.
func Moved(was, is []Volume, held func(path string) bool) []string {
	if len(is) == 0 {
		return nil // it lies on none
	}
	if len(was) > 0 && is[0].Named != was[0].Named && is[0].Named != was[0].Path {
		was = nil // an operator has named another place
	}
	var found []string
	for i, v := range was {
		if i > 0 && !held(v.Path) {
			continue
		}
		now := slices.IndexFunc(is, func(n Volume) bool { return n.Path == v.Path })
		if i == 0 {
			now = 0 // a symlink may lead elsewhere than it did
		}
		switch {
		case now < 0:
			found = append(found, fmt.Sprintf("%s: was %s, is not mounted", v.Path, v))
		case v.sameVolume(is[now]) && v.Folder != is[now].Folder:
			found = append(found, fmt.Sprintf("%s: was on the folder %s of %s, is on its folder %s", is[now].Path, v.Folder, v.volume(), is[now].Folder))
		case !v.sameVolume(is[now]):
			found = append(found, fmt.Sprintf("%s: was on %s, is on %s", is[now].Path, v, is[now]))
		}
	}
	var known []string
	if len(was) > 0 {
		known = was[0].Unmounted
	}
	for _, point := range is[0].Unmounted {
		if !slices.Contains(known, point) {
			found = append(found, fmt.Sprintf("%s: /etc/fstab has a file system for %s, which is not mounted", is[0].Path, point))
		}
	}
	return found
}

// sameVolume tells whether two are on the same file system, wherever that is
// mounted.
func (v Volume) sameVolume(o Volume) bool {
	if v.Type != o.Type {
		return false
	}
	switch {
	case v.UUID != "" && o.UUID != "":
		return v.UUID == o.UUID
	case v.FSID != "" && o.FSID != "":
		return v.FSID == o.FSID
	}
	return v.Device == o.Device
}

// String is for people.
func (v Volume) String() string {
	if v.Mount == "/" {
		return v.volume()
	}
	return v.volume() + ", mounted at " + v.Mount + ", folder " + v.Folder
}

// volume names the file system, wherever it is mounted.
func (v Volume) volume() string {
	name := v.Type + " on " + v.Device
	switch {
	case v.UUID != "":
		name += " (UUID " + v.UUID + ")"
	case v.FSID != "":
		name += " (fsid " + v.FSID + ")"
	}
	if v.Mount == "/" {
		return "the root disk, " + name
	}
	return name
}

package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

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

// Volumes tells which file systems a source lies on here: first the one that
// its path is on, or will be, then those that are mounted within. None for a
// source that lies on none, such as a database server's.
func Volumes(ctx context.Context, src Source) ([]Volume, error) {
	v, ok := src.(voluminous)
	if !ok {
		return nil, nil
	}
	found, err := v.volumes()
	if err != nil {
		return nil, fmt.Errorf("find the file system of source %s: %w", src.Name(), err)
	}
	return found, ctx.Err()
}

// voluminous is a source that lies on file systems of this host.
type voluminous interface{ volumes() ([]Volume, error) }

var (
	_ voluminous = (*Directory)(nil)
	_ voluminous = (*SQLite)(nil)
	_ voluminous = (*Prometheus)(nil)
)

func (d *Directory) volumes() ([]Volume, error) {
	path, err := resolveTarget(d.cfg.Path)
	if err != nil {
		return nil, err
	}
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	v, err := volumeOf(path, mounts)
	if err != nil {
		return nil, err
	}
	v.Named = d.cfg.Path
	all := []Volume{v}
	w := walk{exclude: d.cfg.Exclude}
	for _, point := range mountsWithin(path, mounts) {
		if w.excludes(strings.TrimPrefix(point, path+"/")) {
			continue
		}
		if v, err = volumeOf(point, mounts); err != nil {
			return nil, err
		}
		v.Unmounted = nil // as of the path above
		all = append(all, v)
	}
	return all, nil
}

func (p *Prometheus) volumes() ([]Volume, error) { return p.tree.volumes() }

func (s *SQLite) volumes() ([]Volume, error) { return fileVolumes(s.cfg.Path) }

// fileVolumes is the file system of a file.
func fileVolumes(named string) ([]Volume, error) {
	path, err := resolveTarget(named)
	if err != nil {
		return nil, err
	}
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	v, err := volumeOf(path, mounts)
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

// HeldIn tells which of the file systems mounted within a source had files when
// e was dumped.
func HeldIn(e Entry) func(path string) bool {
	var facts DirectoryFacts
	if e.Kind != "directory" || json.Unmarshal(e.Facts, &facts) != nil {
		return func(string) bool { return false }
	}
	root := facts.Path
	if path, err := resolveTarget(root); err == nil {
		root = path
	}
	return func(path string) bool { return facts.Mounts[strings.TrimPrefix(path, root+"/")] > 0 }
}

// Held says what a source had when e was dumped, in the words of Holds.
func Held(e Entry) string {
	var facts DirectoryFacts
	if e.Kind != "directory" || json.Unmarshal(e.Facts, &facts) != nil {
		return ""
	}
	return humanize.Comma(facts.names()) + " files"
}

// Holds says what a source has now, without a dump of it: "" where that takes
// more than a look.
func Holds(ctx context.Context, src Source) (string, error) {
	d, ok := src.(*Directory)
	if !ok {
		return "", nil
	}
	n, err := d.count(ctx)
	if err != nil {
		return "", fmt.Errorf("count the files of source %s: %w", src.Name(), err)
	}
	return humanize.Comma(n) + " files", nil
}

// count is how many names lead to what is not a folder.
func (d *Directory) count(ctx context.Context) (n int64, err error) {
	at, err := fsx.Resolve(d.cfg.Path)
	if err != nil {
		return 0, err
	}
	defer at.Close()
	root := at.Path()
	w := walk{root: root, at: at, exclude: d.cfg.Exclude, guests: d.guestsIn(root), fault: noPathFault, visit: func(f *found) error {
		if f.self == nil {
			n++
		}
		return nil
	}}
	if err := w.run(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return n, err
	}
	return n, nil
}

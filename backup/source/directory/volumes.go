package directory

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/volume"
)

// Volumes implements source.Voluminous.
func (d *Source) Volumes() ([]volume.Volume, error) {
	path, err := fsx.RealPath(d.cfg.Path)
	if err != nil {
		return nil, err
	}
	mounts, err := volume.ReadMounts()
	if err != nil {
		return nil, err
	}
	v, err := volume.Of(path, mounts)
	if err != nil {
		return nil, err
	}
	v.Named = d.cfg.Path
	all := []volume.Volume{v}
	w := walk{exclude: d.cfg.Exclude}
	for _, point := range volume.Within(path, mounts) {
		if w.excludes(strings.TrimPrefix(point, path+"/")) {
			continue
		}
		if v, err = volume.Of(point, mounts); err != nil {
			return nil, err
		}
		v.Unmounted = nil // as of the path above
		all = append(all, v)
	}
	return all, nil
}

// Count implements source.Counter: how many names lead to what is not a folder.
func (d *Source) Count(ctx context.Context) (n int64, err error) {
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

// heldIn is HeldIn.
func heldIn(e source.Entry) func(path string) bool {
	var facts Facts
	if json.Unmarshal(e.Facts, &facts) != nil {
		return func(string) bool { return false }
	}
	root := facts.Path
	if path, err := fsx.RealPath(root); err == nil {
		root = path
	}
	return func(path string) bool { return facts.Mounts[strings.TrimPrefix(path, root+"/")] > 0 }
}

// held is Held.
func held(e source.Entry) string {
	var facts Facts
	if json.Unmarshal(e.Facts, &facts) != nil {
		return ""
	}
	return humanize.Comma(facts.names()) + " files"
}

package source

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup/fsx"
)

// Volumes implements source.Voluminous.
func (d *Directory) Volumes() ([]Volume, error) {
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

// Count implements source.Counter: how many names lead to what is not a folder.
func (d *Directory) Count(ctx context.Context) (n int64, err error) {
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

// directoryHeldIn is HeldIn.
func directoryHeldIn(e Entry) func(path string) bool {
	var facts DirectoryFacts
	if json.Unmarshal(e.Facts, &facts) != nil {
		return func(string) bool { return false }
	}
	root := facts.Path
	if path, err := resolveTarget(root); err == nil {
		root = path
	}
	return func(path string) bool { return facts.Mounts[strings.TrimPrefix(path, root+"/")] > 0 }
}

// directoryHeld is Held.
func directoryHeld(e Entry) string {
	var facts DirectoryFacts
	if json.Unmarshal(e.Facts, &facts) != nil {
		return ""
	}
	return humanize.Comma(facts.names()) + " files"
}

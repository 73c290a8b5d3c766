package sources

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/volume"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/restore"
)

// Volumes remembers on which file systems of this host the sources lie: as they
// were when they were backed up, staged or confirmed last. It is kept on disk,
// and safe for concurrent use.
type Volumes struct {
	folder Folder

	keeping sync.Mutex // held while the disk is written, which may take for ever
	mu      sync.Mutex
	all     map[string]knownVolumes // by the source's name
}

type knownVolumes struct {
	Kind    string          `json:"kind"`
	Volumes []volume.Volume `json:"volumes"`
}

// Folder keeps files.
type Folder interface {
	Load(name string, v any) (found bool, err error)
	Save(name string, v any) error
}

// OpenVolumes reads where the sources lay. A file that is damaged is an error, and
// nothing is known then.
func OpenVolumes(folder Folder) (*Volumes, error) {
	all := map[string]knownVolumes{}
	if _, err := folder.Load(datadir.VolumesFile, &all); err != nil {
		return &Volumes{folder: folder, all: map[string]knownVolumes{}}, err
	}
	return &Volumes{folder: folder, all: all}, nil
}

func (v *Volumes) known(src source.Source) ([]volume.Volume, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k, found := v.all[src.Name()]
	if !found || k.Kind != src.Kind() {
		return nil, false
	}
	return k.Volumes, true
}

// moved says what is different about where a source lies; nil for nothing. Of
// the file systems that are mounted within only those count that held tells of.
func (v *Volumes) moved(ctx context.Context, src source.Source, held func(path string) bool) ([]string, error) {
	now, err := source.Volumes(ctx, src)
	if err != nil {
		return nil, err
	}
	was, _ := v.known(src)
	return volume.Moved(was, now, held), nil
}

// Learn takes where a source lies now for right.
func (v *Volumes) Learn(ctx context.Context, sources ...source.Source) error {
	next := make(map[string]knownVolumes, len(sources))
	for _, src := range sources {
		now, err := source.Volumes(ctx, src)
		if err != nil {
			return err
		}
		if len(now) > 0 {
			next[src.Name()] = knownVolumes{Kind: src.Kind(), Volumes: now}
		}
	}
	v.keeping.Lock()
	defer v.keeping.Unlock()
	v.mu.Lock()
	changed := false
	for name, k := range next {
		changed = changed || !reflect.DeepEqual(v.all[name], k)
		v.all[name] = k
	}
	all := maps.Clone(v.all)
	v.mu.Unlock()
	if !changed {
		return nil
	}
	return v.folder.Save(datadir.VolumesFile, all)
}

// MovedSince is backup.Order.Moved.
func (v *Volumes) MovedSince(ctx context.Context, src source.Source, last source.Entry) ([]string, error) {
	return v.moved(ctx, src, source.HeldIn(last))
}

// noMountsWithin: where something is restored none is allowed.
func noMountsWithin(string) bool { return false }

// Check is a restore.ErrVolume where nothing may be restored to a source.
func (v *Volumes) Check(ctx context.Context, src source.Source) error {
	found, err := v.moved(ctx, src, noMountsWithin)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("source %s: %w: %s. Nothing is restored there: mount what is missing, or, if it is meant to be so, confirm it on this host: understudy accept-change %s",
		src.Name(), restore.ErrVolume, strings.Join(found, "; "), src.Name())
}

// Settle is Check for a source that is about to be changed: from then on it is
// known where it lies.
func (v *Volumes) Settle(ctx context.Context, src source.Source) error {
	if err := v.Check(ctx, src); err != nil {
		return err
	}
	if _, known := v.known(src); known {
		return nil
	}
	return v.Learn(ctx, src)
}

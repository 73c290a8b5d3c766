package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/ha"
)

// ReadJournal reads what the data folder at path says of its instance, without
// locking it, and whether or not an agent is running on it. It is nil when the
// folder is missing or belongs to no cluster, which is also so while an Init is
// unfinished.
func ReadJournal(path string) (*ha.Journal, error) {
	d := dataDir{path: path}
	j, found, err := d.loadJournal()
	if err != nil || !found || j.Pending != nil && j.Pending.Token == "" {
		return nil, err
	}
	return &j, nil
}

// CacheFolder is where the data folder at path has its restore.Cache; "" when
// there is none that this process may look into.
func CacheFolder(path string) (string, error) {
	folder := filepath.Join(path, cacheFolder)
	_, err := os.ReadDir(folder)
	switch {
	case err == nil:
		return folder, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, unix.ENOTDIR):
		return "", nil
	}
	return "", fmt.Errorf("look for the cache: %w", err)
}

// Instance reads what an instance says of itself. A missing record is an error
// that wraps blobstore.ErrNotFound.
func (b *Bucket) Instance(ctx context.Context, name string) (*ha.Instance, error) {
	object, _, err := b.read(ctx, ha.KindInstance, ha.InstanceKey(name), "")
	if err != nil {
		return nil, err
	}
	return object.(*ha.Instance), nil
}

// Instances reads what all instances say of themselves.
func (b *Bucket) Instances(ctx context.Context) ([]ha.Instance, error) {
	_, names, err := b.names(ctx, ha.InstancesPrefix)
	if err != nil {
		return nil, err
	}
	all := make([]ha.Instance, 0, len(names))
	for _, name := range names {
		rec, err := b.Instance(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, *rec)
	}
	return all, nil
}

// Config reads the shared configuration that a head names.
func (b *Bucket) Config(ctx context.Context, h *ha.Head) (*ha.Config, error) {
	object, _, err := b.read(ctx, ha.KindConfig, ha.ConfigKey(h.Config), "")
	if err != nil {
		return nil, err
	}
	return object.(*ha.Config), nil
}

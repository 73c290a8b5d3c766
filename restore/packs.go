package restore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/backup/pack"
)

// packDir is where a Cache has its packs. A pack gets its place when it was verified to
// be the one that its name says, and synced.
type packDir struct {
	dir      string // the cache's
	announce func(step string, do func() error) error

	// Replaced in tests.
	create   func(dir string) (partialFile, error)
	parallel int // packs fetched at once
}

func newPackDir(dir string, announce func(step string, do func() error) error) *packDir {
	return &packDir{dir: dir, announce: announce, create: createPartial, parallel: fetchParallel}
}

func (k *packDir) path(parts ...string) string {
	return filepath.Join(append([]string{k.dir}, parts...)...)
}

func (k *packDir) at(d pack.Digest) string { return k.path(filepath.FromSlash(d.Key())) }

// partialFile is a file that is being fetched.
type partialFile interface {
	io.Writer
	Name() string
	Sync() error
	Close() error
}

func createPartial(dir string) (partialFile, error) { return os.CreateTemp(dir, "pack-*") }

// has tells whether a pack is cached. A size of 0 is an unknown one.
func (k *packDir) has(p pack.Info) bool {
	info, err := os.Stat(k.at(p.Digest))
	return err == nil && (p.Size == 0 || info.Size() == p.Size)
}

// missing returns the packs that are not cached.
func (k *packDir) missing(packs []pack.Info) []pack.Info {
	var missing []pack.Info
	for _, p := range packs {
		if !k.has(p) {
			missing = append(missing, p)
		}
	}
	return missing
}

// store streams a pack into its place, if it is the one that its name
// says. The folder of its place is not synced yet.
func (k *packDir) store(p pack.Info, body io.Reader, count func(n int)) (err error) {
	f, err := k.create(k.path("partial"))
	if err != nil {
		return fmt.Errorf("make a file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close() // it may be closed already
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	hash := sha256.New()
	// The wrapped reader keeps io.Copy from handing the whole body over at once.
	size, err := io.CopyBuffer(counter{io.MultiWriter(f, hash), count}, struct{ io.Reader }{body}, make([]byte, 256<<10))
	switch {
	case err != nil:
		return err
	case p.Size != 0 && size != p.Size:
		return fmt.Errorf("%w: it has %d bytes instead of %d", pack.ErrCorrupt, size, p.Size)
	case pack.Digest(hash.Sum(nil)) != p.Digest:
		return fmt.Errorf("%w: its content is not what its name says", pack.ErrCorrupt)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	place := k.at(p.Digest)
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	return k.announce("cache.pack", func() error { return os.Rename(f.Name(), place) })
}

// counter reports what passes through it.
type counter struct {
	io.Writer
	count func(n int)
}

func (w counter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if w.count != nil {
		w.count(n)
	}
	return n, err
}

// sync makes the places of packs durable. All at once, because a disk
// takes little longer for many syncs than for one.
func (k *packDir) sync(packs []pack.Info) error {
	if len(packs) == 0 {
		return nil
	}
	folders := map[string]bool{k.path("packs"): true}
	for _, p := range packs {
		folders[filepath.Dir(k.at(p.Digest))] = true
	}
	var group errgroup.Group
	group.SetLimit(k.parallel)
	return k.announce("cache.sync", func() error {
		for folder := range folders {
			group.Go(func() error { return syncDir(folder) })
		}
		return group.Wait()
	})
}

// check reads a cached pack, and verifies that it is the one that its name
// says.
func (k *packDir) check(ctx context.Context, d pack.Digest) error {
	f, err := os.Open(k.at(d))
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	for buf := make([]byte, 256<<10); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(buf)
		_, _ = hash.Write(buf[:n]) // never fails
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if pack.Digest(hash.Sum(nil)) != d {
		return fmt.Errorf("%w: its content is not what its name says", pack.ErrCorrupt)
	}
	return nil
}

// each yields the cached packs after the key, in the order of their
// digests, until do reports false.
func (k *packDir) each(after string, do func(d pack.Digest, info fs.FileInfo) (bool, error)) error {
	folders, err := os.ReadDir(k.path("packs"))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if !folder.IsDir() || path.Join("packs", folder.Name())+"/\xff" < after {
			continue
		}
		entries, err := os.ReadDir(k.path("packs", folder.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			var d pack.Digest
			if d.UnmarshalText([]byte(e.Name())) != nil || d.Key() <= after {
				continue
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // dropped meanwhile
			}
			if err != nil {
				return err
			}
			if on, err := do(d, info); err != nil || !on {
				return err
			}
		}
	}
	return nil
}

// drop drops the packs that are not needed.
func (k *packDir) drop(needed map[pack.Digest]bool) error {
	return filepath.WalkDir(k.path("packs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		var d pack.Digest
		if err := d.UnmarshalText([]byte(e.Name())); err == nil && needed[d] {
			return nil
		}
		return os.Remove(path)
	})
}

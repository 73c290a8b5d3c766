package restore

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
)

// errBroken marks a file of the cache or the journal that is not as it was
// written.
var errBroken = errors.New("unreadable")

// lockPoll is how often a lock that another process holds is tried again.
const lockPoll = 20 * time.Millisecond

// Cache is a folder of verified backups: manifests and packs. It is also the
// active's local store of metadata packs. It is safe for concurrent use, by
// several processes too.
type Cache struct {
	// Step, where it is set before first use, is told of the Steps.
	Step func(point string)
	// Mended, where it is set before first use, is told of packs that were found
	// to be bad. Several goroutines may tell at a time.
	Mended func(context.Context, Mended)

	dir  string
	keep int
	turn chan struct{} // taken by whoever changes the cache, in this process

	packs *packDir

	// Replaced in tests.
	statFS func(path string) (fileSystem, error)
}

// OpenCache opens (and makes) the cache in dir and drops leftovers of
// interrupted pulls that cannot be resumed, unless another process is using
// the cache. keep is how many backups to keep, at least one.
func OpenCache(dir string, keep int) (*Cache, error) {
	if keep < 1 {
		return nil, fmt.Errorf("open cache %s: it must keep at least one backup, not %d", dir, keep)
	}
	c := &Cache{dir: dir, keep: keep, turn: make(chan struct{}, 1), statFS: statFS}
	c.packs = newPackDir(dir, func(step string, do func() error) error { return announced(c.Step, step, do) })
	if err := c.makeDirs(); err != nil {
		return nil, fmt.Errorf("open cache %s: %w", dir, err)
	}
	lock := flock.New(c.path("lock"))
	free, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("open cache %s: %w", dir, err)
	}
	if free {
		err = errors.Join(emptyDir(c.path("partial")), lock.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("open cache %s: %w", dir, err)
	}
	return c, nil
}

func (c *Cache) makeDirs() error {
	for _, name := range []string{"backups", "packs", "partial"} {
		if err := os.MkdirAll(c.path(name), 0o700); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cache) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

// change runs do while nobody else changes the cache. Somebody may have deleted
// its folder.
func (c *Cache) change(ctx context.Context, do func() error) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return fmt.Errorf("wait for the cache: %w", ctx.Err())
	}
	if err := c.makeDirs(); err != nil {
		return fmt.Errorf("lock cache: %w", err)
	}
	lock := flock.New(c.path("lock"))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return fmt.Errorf("lock cache: %w", err)
	}
	return errors.Join(do(), lock.Close())
}

// List gives the cached backups, newest first by (epoch, sequence).
func (c *Cache) List() ([]backup.Ref, error) {
	refs, _, err := c.list()
	if err != nil {
		return nil, fmt.Errorf("list cache: %w", err)
	}
	return refs, nil
}

// list also names the folders that hold no readable backup.
func (c *Cache) list() (refs []backup.Ref, broken []string, err error) {
	entries, err := os.ReadDir(c.path("backups"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue // not ours
		}
		ref, err := c.ref(e.Name())
		switch {
		case err == nil:
			refs = append(refs, ref)
		case isBroken(err):
			broken = append(broken, e.Name())
		default:
			return nil, nil, err
		}
	}
	slices.SortFunc(refs, newestFirst)
	return refs, broken, nil
}

// isBroken tells a backup that cannot be used from one that cannot be read
// just now.
func isBroken(err error) bool {
	return errors.Is(err, errBroken) || errors.Is(err, fs.ErrNotExist)
}

func newestFirst(a, b backup.Ref) int {
	return cmp.Or(cmp.Compare(b.Epoch, a.Epoch), cmp.Compare(b.Sequence, a.Sequence), cmp.Compare(b.ID, a.ID))
}

// cachedRef is what ref.json holds.
type cachedRef struct {
	backup.Ref
	// PacksDigest is the SHA-256 of the list of packs, in hex; empty: not known.
	PacksDigest string `json:"packs_digest,omitempty"`
}

// ref reads the Ref of a cached backup.
func (c *Cache) ref(id string) (backup.Ref, error) {
	cached, err := c.cachedRef(id)
	return cached.Ref, err
}

func (c *Cache) cachedRef(id string) (ref cachedRef, err error) {
	if err := checkID(id); err != nil {
		return ref, err
	}
	path := c.path("backups", id, "ref.json")
	if err := readJSON(path, &ref); err != nil {
		return ref, err
	}
	if ref.ID != id {
		return ref, fmt.Errorf("%w %s: it is of backup %q", errBroken, path, ref.ID)
	}
	return ref, nil
}

// checkID refuses an id that would lead out of the cache.
func checkID(id string) error {
	if id == "." || !filepath.IsLocal(id) || filepath.Base(id) != id {
		return fmt.Errorf("%q is not the id of a backup", id)
	}
	return nil
}

// Manifest reads a cached backup's manifest, verified. A backup that is not
// cached is an error that wraps fs.ErrNotExist.
func (c *Cache) Manifest(repo *backup.Repository, id string) (backup.Ref, *backup.Manifest, error) {
	ref, err := c.ref(id)
	if err != nil {
		return backup.Ref{}, nil, fmt.Errorf("read cached backup %s: %w", id, err)
	}
	signed, err := os.ReadFile(c.path("backups", id, "manifest.json"))
	if err != nil {
		return backup.Ref{}, nil, fmt.Errorf("read cached backup %s: %w", id, err)
	}
	m, err := repo.Decode(ref, signed)
	if err != nil {
		return backup.Ref{}, nil, fmt.Errorf("read cached backup %s: %w", id, err)
	}
	return ref, m, nil
}

// Hold keeps a cached backup from being dropped, by any process, until release
// is called. A backup that is not cached is an error that wraps
// fs.ErrNotExist.
func (c *Cache) Hold(id string) (release func() error, err error) {
	if err := checkID(id); err != nil {
		return nil, fmt.Errorf("hold cached backup: %w", err)
	}
	path := c.path("backups", id, "ref.json")
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	held, err := lock.TryRLock()
	if err != nil {
		return nil, fmt.Errorf("hold cached backup %s: %w", id, err)
	}
	if held {
		// It may have been dropped between the opening and the locking.
		now, nowErr := os.Stat(path)
		locked, lockedErr := lock.Stat()
		if err = errors.Join(nowErr, lockedErr); err == nil && os.SameFile(now, locked) {
			return lock.Close, nil
		}
	}
	return nil, fmt.Errorf("hold cached backup %s: it is being dropped: %w", id, errors.Join(fs.ErrNotExist, lock.Close()))
}

// ReadPack implements pack.Packs.
func (c *Cache) ReadPack(ctx context.Context, d pack.Digest, off int64, buf []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read pack %s: %w", d, err)
	}
	f, err := os.Open(c.packs.at(d))
	if err != nil {
		return fmt.Errorf("read cached pack %s: %w", d, err)
	}
	defer f.Close()
	if n, err := f.ReadAt(buf, off); n < len(buf) {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("it ends before byte %d: %w", off+int64(len(buf)), io.ErrUnexpectedEOF)
		}
		return fmt.Errorf("read cached pack %s: %w", d, err)
	}
	return nil
}

// PackSize gives the size of a cached pack in bytes. A pack that is not cached
// is an error that wraps fs.ErrNotExist.
func (c *Cache) PackSize(_ context.Context, d pack.Digest) (int64, error) {
	info, err := os.Stat(c.packs.at(d))
	if err != nil {
		return 0, fmt.Errorf("look for cached pack %s: %w", d, err)
	}
	return info.Size(), nil
}

// PutPack implements backup.LocalPacks. Packs that no cached backup needs are
// dropped by the next Pull or Trim.
func (c *Cache) PutPack(ctx context.Context, d pack.Digest, data []byte) error {
	p := pack.Info{Digest: d, Size: int64(len(data))}
	err := c.change(ctx, func() error {
		if c.packs.has(p) {
			return nil
		}
		if err := c.packs.store(p, bytes.NewReader(data), nil); err != nil {
			return err
		}
		return c.packs.sync([]pack.Info{p})
	})
	if err != nil {
		return fmt.Errorf("cache pack %s: %w", d, err)
	}
	return nil
}

// needs reads which packs a cached backup needs.
func (c *Cache) needs(id string) ([]pack.Info, error) {
	path := c.path("backups", id, "packs")
	ref, err := c.cachedRef(id)
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if ref.PacksDigest != "" && ref.PacksDigest != digestOf(list) {
		return nil, fmt.Errorf("%w %s: it was changed", errBroken, path)
	}
	var packs []pack.Info
	for lines := bufio.NewScanner(bytes.NewReader(list)); ; {
		if !lines.Scan() {
			return packs, lines.Err()
		}
		digest, size, _ := bytes.Cut(lines.Bytes(), []byte(" "))
		var p pack.Info
		if err := p.Digest.UnmarshalText(digest); err != nil {
			return nil, fmt.Errorf("%w %s: %w", errBroken, path, err)
		}
		if _, err := fmt.Sscan(string(size), &p.Size); err != nil {
			return nil, fmt.Errorf("%w %s: %w", errBroken, path, err)
		}
		packs = append(packs, p)
	}
}

func digestOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

// Signed reads a cached backup's manifest, verified to be the one that ref
// pins, and its bytes as they stand in the bucket. A backup that is not cached
// is an error that wraps fs.ErrNotExist.
func (c *Cache) Signed(repo *backup.Repository, ref backup.Ref) (*backup.Manifest, []byte, error) {
	if err := checkID(ref.ID); err != nil {
		return nil, nil, fmt.Errorf("read cached backup: %w", err)
	}
	signed, err := os.ReadFile(c.path("backups", ref.ID, "manifest.json"))
	if err != nil {
		return nil, nil, fmt.Errorf("read cached backup %s: %w", ref.ID, err)
	}
	m, err := repo.Decode(ref, signed)
	if err != nil {
		return nil, nil, fmt.Errorf("read cached backup %s: %w", ref.ID, err)
	}
	return m, signed, nil
}

// WholePack reads a cached pack, and verifies that it is the one that its name
// says. A pack that is not cached is an error that wraps fs.ErrNotExist.
func (c *Cache) WholePack(ctx context.Context, d pack.Digest) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read cached pack %s: %w", d, err)
	}
	data, err := os.ReadFile(c.packs.at(d))
	if err != nil {
		return nil, fmt.Errorf("read cached pack %s: %w", d, err)
	}
	if pack.Digest(sha256.Sum256(data)) != d {
		return nil, fmt.Errorf("read cached pack %s: %w: its content is not what its name says", d, pack.ErrCorrupt)
	}
	return data, nil
}

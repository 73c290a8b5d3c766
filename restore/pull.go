package restore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
)

const (
	fetchParallel = 8 // packs in flight: enough to fill a line with a long round trip
	fetchTries    = 4 // of one pack whose body breaks off
)

// Pull brings one backup into the cache: free space is checked, missing packs
// are fetched into temporary files, verified, synced and renamed, the manifest
// last: only then does the backup count as cached. An interrupted Pull resumes.
// Then backups beyond the newest keep by (epoch, sequence) are dropped, with
// the packs that no cached backup needs; the one just pulled and those that
// are held (Hold) stay. progress may be nil.
func (c *Cache) Pull(ctx context.Context, repo *backup.Repository, ref backup.Ref, progress func(backup.Progress)) error {
	err := c.change(ctx, func() error {
		if c.complete(ref) {
			return nil
		}
		err := c.pull(ctx, repo, ref, progress)
		switch {
		case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
			// Keeping what was fetched, to resume later, would keep the disk full.
			err = fmt.Errorf("%w in %s: %w", ErrNoSpace, c.dir, err)
		case err != nil:
			return err
		}
		return errors.Join(err, c.tidy(ref.ID, make(map[pack.Digest]bool)))
	})
	if err != nil {
		return fmt.Errorf("pull backup %s: %w", ref.ID, err)
	}
	return nil
}

// complete tells whether the backup is cached, its records are sound and its
// packs have their sizes.
func (c *Cache) complete(ref backup.Ref) bool {
	if c.sound(ref) != nil {
		return false
	}
	packs, err := c.needs(ref.ID)
	return err == nil && len(c.packs.missing(packs)) == 0
}

func (c *Cache) pull(ctx context.Context, repo *backup.Repository, ref backup.Ref, progress func(backup.Progress)) error {
	if err := checkID(ref.ID); err != nil {
		return err
	}
	signed, err := repo.ReadSigned(ctx, ref)
	if err != nil {
		return err
	}
	m, err := repo.Decode(ref, signed)
	if err != nil {
		return err
	}
	f := &fetch{cache: c, repo: repo, progress: progress}
	// The new packs are named by the manifest, so they need not wait for the
	// index; for a standby that keeps up they are all that is missing, the
	// index's own included.
	fresh, err := newPacks(m)
	if err != nil {
		return err
	}
	if err := f.run(ctx, fresh, m.Size.Stored); err != nil {
		return err
	}
	_, index, err := repo.Open(ctx, m, c.Through(repo))
	if err != nil {
		return err
	}
	packs := index.Packs()
	if err := f.run(ctx, packs, sum(c.packs.missing(packs))); err != nil {
		return err
	}
	return c.record(ref, signed, packs)
}

// newPacks gives the packs that the manifest lists as new, sizes unknown.
func newPacks(m *backup.Manifest) ([]pack.Info, error) {
	packs := make([]pack.Info, len(m.NewPacks))
	for i, name := range m.NewPacks {
		if err := packs[i].Digest.UnmarshalText([]byte(name)); err != nil {
			return nil, fmt.Errorf("read manifest: new packs: %w", err)
		}
	}
	return packs, nil
}

func sum(packs []pack.Info) (total int64) {
	for _, p := range packs {
		total += p.Size
	}
	return total
}

// fetch brings packs from the bucket into the cache.
type fetch struct {
	cache    *Cache
	repo     *backup.Repository
	progress func(backup.Progress)

	mu          sync.Mutex // guards the counts and serialises progress
	done, total int64      // bytes
}

// run fetches those of the packs that are missing, total bytes together, several
// at once, with a bounded amount of memory. Even when it fails, the packs that got their place have it
// durably, so that the next run can rely on them.
func (f *fetch) run(ctx context.Context, packs []pack.Info, total int64) error {
	missing := f.cache.packs.missing(packs)
	if len(missing) == 0 {
		return nil
	}
	if err := f.makeRoom(packs, total); err != nil {
		return err
	}
	f.total = f.done + total
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(f.cache.packs.parallel)
	for _, p := range missing {
		group.Go(func() error { return f.one(groupCtx, p) })
	}
	err := group.Wait()
	placed := slices.DeleteFunc(missing, func(p pack.Info) bool { return !f.cache.packs.has(p) })
	return errors.Join(err, f.cache.packs.sync(placed))
}

// makeRoom checks the free space for total bytes. If there is too little it
// drops what neither a cached backup needs nor packs has (left by pulls that
// were never resumed), and looks again.
func (f *fetch) makeRoom(packs []pack.Info, total int64) error {
	for swept := false; ; swept = true {
		fsys, err := f.cache.statFS(f.cache.dir)
		if err != nil {
			return err
		}
		if fsys.free >= total+margin {
			return nil
		}
		if swept {
			return noSpace(f.cache.dir, total, fsys.free)
		}
		needed := make(map[pack.Digest]bool)
		for _, p := range packs {
			needed[p.Digest] = true
		}
		if err := f.cache.tidy("", needed); err != nil {
			return err
		}
	}
}

// one fetches a pack. The store itself has retried what can be retried, except
// a body that breaks off.
func (f *fetch) one(ctx context.Context, p pack.Info) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, f.try(ctx, p) },
		backoff.WithMaxTries(fetchTries))
	if errors.Is(err, blobstore.ErrNotFound) || errors.Is(err, pack.ErrCorrupt) {
		err = f.earlier(ctx, p, err)
	}
	if err != nil {
		return fmt.Errorf("fetch pack %s: %w", p.Digest, err)
	}
	return nil
}

// earlier fetches a pack that is damaged in the bucket, or missing from it, from
// an earlier version; without one it returns why it was looked for.
func (f *fetch) earlier(ctx context.Context, p pack.Info, why error) error {
	data, err := f.repo.EarlierPack(ctx, p.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		return why
	}
	if err != nil {
		return errors.Join(why, err)
	}
	return f.cache.packs.store(p, bytes.NewReader(data), f.count)
}

func (f *fetch) try(ctx context.Context, p pack.Info) error {
	body, _, err := f.repo.Store.Get(ctx, p.Digest.Key(), blobstore.GetOptions{})
	if errors.Is(err, blobstore.ErrNotFound) {
		err = fmt.Errorf("it is missing from the bucket: %w", err)
	}
	if err != nil {
		return backoff.Permanent(err)
	}
	counted := 0
	source := &bodyReader{body: body}
	// One byte more than a pack may have is enough to refuse it.
	err = f.cache.packs.store(p, io.LimitReader(source, pack.MaxPackSize+1), func(n int) {
		counted += n
		f.count(n)
	})
	if err == nil {
		return body.Close()
	}
	f.count(-counted)
	if err = errors.Join(err, body.Close()); source.err == nil {
		return backoff.Permanent(err)
	}
	return err
}

// bodyReader remembers whether reading failed, to tell it from writing.
type bodyReader struct {
	body io.Reader
	err  error
}

func (r *bodyReader) Read(b []byte) (int, error) {
	n, err := r.body.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// count reports progress.
func (f *fetch) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done += int64(n)
	if f.progress != nil {
		f.progress(backup.Progress{Step: "fetch packs", Done: f.done, Total: max(f.total, f.done)})
	}
}

// record puts a backup whose packs are all in place, durably, into its own.
func (c *Cache) record(ref backup.Ref, signed []byte, packs []pack.Info) error {
	var list bytes.Buffer
	for _, p := range packs {
		fmt.Fprintf(&list, "%s %d\n", p.Digest, p.Size)
	}
	refJSON, err := json.Marshal(cachedRef{Ref: ref, PacksDigest: digestOf(list.Bytes())})
	if err != nil {
		return fmt.Errorf("record backup: %w", err)
	}
	folder, err := os.MkdirTemp(c.path("partial"), "backup-*")
	if err != nil {
		return fmt.Errorf("record backup: %w", err)
	}
	err = announced(c.Step, "cache.record", func() error {
		var group errgroup.Group
		for name, data := range map[string][]byte{"manifest.json": signed, "packs": list.Bytes(), "ref.json": refJSON} {
			group.Go(func() error { return writeSynced(filepath.Join(folder, name), data) })
		}
		return group.Wait()
	})
	if err != nil {
		return errors.Join(fmt.Errorf("record backup: %w", err), os.RemoveAll(folder))
	}
	if err := c.place(folder, ref.ID); err != nil {
		return fmt.Errorf("record backup: %w", err)
	}
	return nil
}

// place moves a finished folder to where the backup counts as cached,
// replacing a broken one.
func (c *Cache) place(folder, id string) error {
	if err := syncDir(folder); err != nil {
		return err
	}
	if _, err := os.Lstat(c.path("backups", id)); err == nil {
		if err := c.dropBackup(id); err != nil {
			return err
		}
	}
	return announced(c.Step, "cache.place", func() error { return c.move(folder, c.path("backups", id)) })
}

// move gives a folder that is or was a backup's its new place, durably as far
// as the folder of the backups goes.
func (c *Cache) move(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(c.path("backups"))
}

package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/gofrs/flock"
	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
)

var (
	_ pack.Packs        = (*Cache)(nil)
	_ backup.LocalPacks = (*Cache)(nil)
	_ sizer             = (*Cache)(nil)
)

func digest(data []byte) pack.Digest { return sha256.Sum256(data) }

func TestAPackThatWasPutIsRead(t *testing.T) {
	cache := openCache(t, memoryDir(t), 10)
	data := noise(1, 1000)
	d := digest(data)
	if err := cache.ReadPack(t.Context(), d, 0, make([]byte, 1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing pack: %v", err)
	}
	for range 2 { // the second time changes nothing
		if err := cache.PutPack(t.Context(), d, data); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 100)
	if err := cache.ReadPack(t.Context(), d, 900, buf); err != nil || !bytes.Equal(buf, data[900:]) {
		t.Errorf("got %v", err)
	}
	err := cache.ReadPack(t.Context(), d, 901, buf)
	if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("past the end: %v", err)
	}
	if size, err := cache.PackSize(t.Context(), d); err != nil || size != 1000 {
		t.Errorf("size %d, %v", size, err)
	}
	if err := cache.PutPack(t.Context(), pack.Digest{1}, data); !errors.Is(err, pack.ErrCorrupt) {
		t.Errorf("a wrong name: %v", err)
	}
	if packs, partial := packFiles(t, cache); packs != 1 || partial != 0 {
		t.Errorf("%d packs, %d unfinished", packs, partial)
	}
}

func TestManyPacksArePutAtOnce(t *testing.T) {
	cache := openCache(t, memoryDir(t), 10)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			data := noise(byte(i/2), 1000)
			if err := cache.PutPack(t.Context(), digest(data), data); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if packs, _ := packFiles(t, cache); packs != 10 {
		t.Errorf("%d packs", packs)
	}
}

func TestTrimKeepsWhatIndexesAndCachedBackupsNeed(t *testing.T) {
	cl, cache := newCluster(t), openCache(t, memoryDir(t), 10)
	cached, _ := cl.write(t, 1, noise(1, 1<<20))
	if err := cache.Pull(t.Context(), cl.repo, cached, nil); err != nil {
		t.Fatal(err)
	}
	base, _ := packFiles(t, cache)
	newest, m := cl.write(t, 1, noise(2, 1<<20))
	_, index, err := cl.repo.Open(t.Context(), m, cl.repo.BucketPacks())
	if err != nil {
		t.Fatal(err)
	}
	// A stray pack, and all of the newest backup's.
	stray := noise(3, 1000)
	if err := cache.PutPack(t.Context(), digest(stray), stray); err != nil {
		t.Fatal(err)
	}
	for _, p := range index.Packs() {
		data := make([]byte, p.Size)
		if err := cl.repo.BucketPacks().ReadPack(t.Context(), p.Digest, 0, data); err != nil {
			t.Fatal(err)
		}
		if err := cache.PutPack(t.Context(), p.Digest, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := cache.Trim(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	if err := cache.ReadPack(t.Context(), digest(stray), 0, make([]byte, 1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stray pack: %v", err)
	}
	if err := Verify(t.Context(), cl.repo, m, cache, true, nil); err != nil {
		t.Errorf("backup %s: %v", newest.ID, err)
	}
	if err := cache.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if packs, _ := packFiles(t, cache); packs != base {
		t.Errorf("%d packs, %d are needed", packs, base)
	}
	read(t, cache, cl.repo, cached.ID)
}

func TestPurgeLeavesAnEmptyCacheThatStillWorks(t *testing.T) {
	cl, cache := newCluster(t), openCache(t, memoryDir(t), 10)
	ref, _ := cl.write(t, 1, noise(1, 1<<20))
	for range 2 {
		if err := cache.Pull(t.Context(), cl.repo, ref, nil); err != nil {
			t.Fatal(err)
		}
		if err := cache.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := ids(t, cache); len(got) != 0 {
			t.Errorf("cached: %v", got)
		}
		if packs, partial := packFiles(t, cache); packs+partial != 0 {
			t.Errorf("%d packs, %d unfinished", packs, partial)
		}
	}
}

// TestACacheThatSomebodyDeletedIsMadeAgain, while the agent runs.
func TestACacheThatSomebodyDeletedIsMadeAgain(t *testing.T) {
	cl, data := newCluster(t), noise(1, 300_000)
	ref, m := cl.write(t, 1, data)
	gone := func(t *testing.T) *Cache {
		t.Helper()
		c := openCache(t, t.TempDir(), 3)
		err := c.Pull(t.Context(), cl.repo, ref, nil)
		if err := errors.Join(err, os.RemoveAll(c.dir)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Run("list and pull", func(t *testing.T) {
		c := gone(t)
		if refs, err := c.List(); err != nil || len(refs) != 0 {
			t.Errorf("listed %v, %v", refs, err)
		}
		if err := c.Pull(t.Context(), cl.repo, ref, nil); err != nil {
			t.Fatal(err)
		}
		if refs, err := c.List(); err != nil || len(refs) != 1 {
			t.Errorf("listed %v, %v", refs, err)
		}
	})
	t.Run("read", func(t *testing.T) {
		c := gone(t)
		reader, _, err := cl.repo.Open(t.Context(), m, c.Mending(cl.repo))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(reader.Open(t.Context(), m.Sources[0].Root)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("read %d bytes: %v", len(got), err)
		}
	})
	t.Run("put", func(t *testing.T) {
		if err := gone(t).PutPack(t.Context(), digest(data), data); err != nil {
			t.Error(err)
		}
	})
}

func TestABackupThatIsNotCachedIsNotFound(t *testing.T) {
	cl, cache := newCluster(t), openCache(t, memoryDir(t), 10)
	if _, _, err := cache.Manifest(cl.repo, "no-such"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no-such") {
		t.Errorf("manifest: %v", err)
	}
	if _, err := cache.Hold("no-such"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("hold: %v", err)
	}
	for _, id := range []string{"", ".", "..", "a/b", "/etc"} {
		if _, _, err := cache.Manifest(cl.repo, id); err == nil || !strings.Contains(err.Error(), "is not the id") {
			t.Errorf("manifest of %q: %v", id, err)
		}
		if _, err := cache.Hold(id); err == nil || !strings.Contains(err.Error(), "is not the id") {
			t.Errorf("hold of %q: %v", id, err)
		}
	}
}

func TestACachedManifestThatWasChangedIsRefused(t *testing.T) {
	cl, cache := newCluster(t), openCache(t, memoryDir(t), 10)
	ref, _ := cl.write(t, 1, noise(1, 1<<20))
	if err := cache.Pull(t.Context(), cl.repo, ref, nil); err != nil {
		t.Fatal(err)
	}
	path := cache.path("backups", ref.ID, "manifest.json")
	signed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	signed[len(signed)/2] ^= 1
	if err := os.WriteFile(path, signed, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cache.Manifest(cl.repo, ref.ID); !errors.Is(err, backup.ErrTampered) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsBrokenInTheCacheIsPulledAgain(t *testing.T) {
	for name, spoil := range map[string]func(c *Cache, id string) error{
		"ref": func(c *Cache, id string) error {
			return os.WriteFile(c.path("backups", id, "ref.json"), []byte("{"), 0o600)
		},
		"other ref": func(c *Cache, id string) error {
			return os.WriteFile(c.path("backups", id, "ref.json"), []byte(`{"id":"x"}`), 0o600)
		},
		"list": func(c *Cache, id string) error {
			return os.WriteFile(c.path("backups", id, "packs"), []byte("x 1\n"), 0o600)
		},
		"missing list": func(c *Cache, id string) error { return os.Remove(c.path("backups", id, "packs")) },
		"missing pack": func(c *Cache, _ string) error { return emptyDir(c.path("packs")) },
		"short pack": func(c *Cache, id string) error {
			packs, err := c.needs(id)
			if err != nil {
				return err
			}
			return os.Truncate(c.packs.at(packs[0].Digest), 10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cl, cache := newCluster(t), openCache(t, memoryDir(t), 10)
			data := noise(1, 1<<20)
			ref, _ := cl.write(t, 1, data)
			if err := cache.Pull(t.Context(), cl.repo, ref, nil); err != nil {
				t.Fatal(err)
			}
			if err := spoil(cache, ref.ID); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(cache.path("backups", "a stray file"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := cache.Pull(t.Context(), cl.repo, ref, nil); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]string{ref.ID}, ids(t, cache)); d != "" {
				t.Error(d)
			}
			if !bytes.Equal(read(t, cache, cl.repo, ref.ID), data) {
				t.Error("the content differs")
			}
		})
	}
}

func TestABrokenBackupOfTheCacheGoesWithTheNextPull(t *testing.T) {
	cl, cache := newCluster(t), openCache(t, memoryDir(t), 10)
	first, _ := cl.write(t, 1, noise(1, 1<<20))
	second, _ := cl.write(t, 1, noise(2, 1<<20))
	if err := cache.Pull(t.Context(), cl.repo, first, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cache.path("backups", first.ID, "packs")); err != nil {
		t.Fatal(err)
	}
	if err := cache.Pull(t.Context(), cl.repo, second, nil); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{second.ID}, ids(t, cache)); d != "" {
		t.Error(d)
	}
}

func TestAnotherProcessIsWaitedForAndItsWorkIsLeftAlone(t *testing.T) {
	cl, dir := newCluster(t), memoryDir(t)
	cache := openCache(t, dir, 10)
	ref, _ := cl.write(t, 1, noise(1, 1<<20))
	// What another process holds while it pulls.
	other := flock.New(cache.path("lock"))
	if err := other.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cache.path("partial", "pack-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	openCache(t, dir, 10)
	if _, partial := packFiles(t, cache); partial != 1 {
		t.Error("the other's unfinished pack was dropped")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- cache.Pull(ctx, cl.repo, ref, nil) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	go func() { done <- cache.Pull(t.Context(), cl.repo, ref, nil) }()
	if err := other.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestACacheKeepsAtLeastOneBackup(t *testing.T) {
	if _, err := OpenCache(t.TempDir(), 0); err == nil {
		t.Error("no error")
	}
}

func TestVerifyTellsAGoodBackupFromABadOne(t *testing.T) {
	cl, cache := newCluster(t), openCache(t, memoryDir(t), 10)
	ref, m := cl.write(t, 1, noise(1, 3<<20))
	if err := cache.Pull(t.Context(), cl.repo, ref, nil); err != nil {
		t.Fatal(err)
	}
	big := bigPack(t, cl)
	places := map[string]pack.Packs{"bucket": cl.repo.BucketPacks(), "cache": cache}
	check := func(damage string, shallow, deep error) {
		t.Helper()
		for place, packs := range places {
			for thorough, want := range map[bool]error{false: shallow, true: deep} {
				var last backup.Progress
				err := Verify(t.Context(), cl.repo, m, packs, thorough, func(p backup.Progress) { last = p })
				if !errors.Is(err, want) {
					t.Errorf("%s in the %s, deep %v: got %v, want %v", damage, place, thorough, err, want)
				}
				if err == nil && (last.Done == 0 || last.Done != last.Total) {
					t.Errorf("%s in the %s, deep %v: the last progress was %+v", damage, place, thorough, last)
				}
				if want != nil && err != nil && !strings.Contains(err.Error(), ref.ID) {
					t.Errorf("the error does not name the backup: %v", err)
				}
			}
		}
	}
	change := func(edit func([]byte) []byte) {
		t.Helper()
		path := cache.path(big)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, edit(data), 0o600); err != nil {
			t.Fatal(err)
		}
		cl.bucket.edit(t, big, edit)
	}
	check("nothing", nil, nil)
	change(func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	check("a changed byte", nil, pack.ErrCorrupt)
	change(func(b []byte) []byte { return b[:len(b)-1] })
	check("a byte less", pack.ErrCorrupt, pack.ErrCorrupt)
	if err := errors.Join(os.Remove(cache.path(big)), cl.bucket.Delete(t.Context(), big)); err != nil {
		t.Fatal(err)
	}
	check("a missing pack", fs.ErrNotExist, fs.ErrNotExist)
}

package restore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// content is a source that holds bytes.
type content struct {
	source.Source // no test restores one
	name          string
	data          []byte
}

func (c *content) Name() string                { return c.name }
func (c *content) Kind() string                { return "content" }
func (c *content) Check(context.Context) error { return nil }

func (c *content) Dump(ctx context.Context, w *pack.Writer, _ *source.Previous) (source.Entry, error) {
	root, err := w.Write(ctx, bytes.NewReader(c.data), pack.Database)
	return source.Entry{Kind: c.Kind(), Name: c.name, Size: root.Size, Root: root}, err
}

// bucket is a memory store whose reads can be watched and spoilt.
type bucket struct {
	*storetest.Memory

	mu   sync.Mutex
	gets []string // keys
	// spoil, when set, is asked before every read.
	spoil func(key string) error
}

func (b *bucket) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	b.mu.Lock()
	b.gets = append(b.gets, key)
	spoil := b.spoil
	b.mu.Unlock()
	if spoil != nil {
		if err := spoil(key); err != nil {
			return nil, blobstore.Attrs{}, err
		}
	}
	return b.Memory.Get(ctx, key, opt)
}

// reads gives the keys read since the last call, of packs or of all.
func (b *bucket) reads() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	keys := b.gets
	b.gets = nil
	return keys
}

func (b *bucket) packs() (keys []string) {
	for _, key := range b.Keys() {
		if strings.HasPrefix(key, "packs/") {
			keys = append(keys, key)
		}
	}
	return keys
}

// content reads a blob, unwatched.
func (b *bucket) content(tb testing.TB, key string) []byte {
	tb.Helper()
	body, _, err := b.Memory.Get(tb.Context(), key, blobstore.GetOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// edit replaces a blob's content.
func (b *bucket) edit(tb testing.TB, key string, change func([]byte) []byte) {
	tb.Helper()
	if _, err := b.Put(tb.Context(), key, change(b.content(tb, key)), blobstore.Always); err != nil {
		tb.Fatal(err)
	}
}

// cluster is a bucket with an active that writes backups to it.
type cluster struct {
	bucket *bucket
	repo   *backup.Repository
	keys   seal.DataKeys
	random io.Reader
	now    time.Time
	last   *backup.Ref
}

func newCluster(tb testing.TB) *cluster {
	tb.Helper()
	random := rand.NewChaCha8([32]byte{1})
	ring := sealtest.NewRing(tb, random)
	keys, err := seal.NewDataKeys(random)
	if err != nil {
		tb.Fatal(err)
	}
	c := &cluster{keys: keys, random: random, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	c.bucket = &bucket{Memory: &storetest.Memory{Now: func() time.Time { return c.now }}}
	c.repo = &backup.Repository{Store: c.bucket, Ring: ring, Cluster: "c-1"}
	return c
}

// write makes a backup of data, in the given epoch, after the last one.
func (c *cluster) write(tb testing.TB, epoch uint64, data ...[]byte) (backup.Ref, *backup.Manifest) {
	tb.Helper()
	c.now = c.now.Add(time.Minute)
	order := backup.Order{
		Epoch: epoch, Sequence: 1, Previous: c.last, Trigger: backup.Scheduled, Instance: "a", Version: "test",
		Keys: c.keys, Now: func() time.Time { return c.now }, Random: c.random,
	}
	if c.last != nil {
		order.Sequence = c.last.Sequence + 1
	}
	for i, d := range data {
		order.Sources = append(order.Sources, &content{name: fmt.Sprintf("s%d", i), data: d})
	}
	ref, m, err := c.repo.Write(context.Background(), order)
	if err != nil {
		tb.Fatal(err)
	}
	c.last = &ref
	return ref, m
}

// noise makes size bytes that do not compress.
func noise(seed byte, size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data) // never fails
	return data
}

func openCache(tb testing.TB, dir string, keep int) *Cache {
	tb.Helper()
	c, err := OpenCache(dir, keep)
	if err != nil {
		tb.Fatal(err)
	}
	c.statFS = func(string) (fileSystem, error) { return fileSystem{free: 1 << 40}, nil }
	return c
}

// read reads the first source of a cached backup from the cache alone.
func read(t *testing.T, c *Cache, repo *backup.Repository, id string) []byte {
	t.Helper()
	_, m, err := c.Manifest(repo, id)
	if err != nil {
		t.Fatal(err)
	}
	reader, _, err := repo.Open(t.Context(), m, c)
	if err != nil {
		t.Fatal(err)
	}
	stream := reader.Open(t.Context(), m.Sources[0].Root)
	data, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	return data
}

// ids lists the cached backups.
func ids(t *testing.T, c *Cache) []string {
	t.Helper()
	refs, err := c.List()
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, ref := range refs {
		ids = append(ids, ref.ID)
	}
	return ids
}

// packFiles counts the packs in the cache, and what is unfinished there.
func packFiles(t *testing.T, c *Cache) (packs, partial int) {
	t.Helper()
	count := func(pattern string) int {
		found, err := filepath.Glob(c.path(pattern))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	return count("packs/*/*"), count("partial/*")
}

// smallDisk is a file system on which files find room for a number of bytes.
type smallDisk struct {
	mu   sync.Mutex
	left int
}

type smallFile struct {
	partialFile
	disk *smallDisk
}

func (d *smallDisk) create(dir string) (partialFile, error) {
	f, err := createPartial(dir)
	return smallFile{f, d}, err
}

func (f smallFile) Write(b []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.left -= len(b); f.disk.left < 0 {
		return 0, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return f.partialFile.Write(b)
}

// memoryDir is a folder in memory where the system has one: the thousands of
// syncs need not wait for a disk.
func memoryDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "understudy-*") //nolint:usetesting // not any folder will do
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

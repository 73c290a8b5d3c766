package restore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/filestore"
)

func TestAPulledBackupIsReadFromTheCacheAlone(t *testing.T) {
	cl, cache := newCluster(t), openCache(t, memoryDir(t), 10)
	data := noise(1, 3<<20)
	ref, _ := cl.write(t, 1, data)
	var last backup.Progress
	if err := cache.Pull(t.Context(), cl.repo, ref, func(p backup.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if last.Done == 0 || last.Done != last.Total {
		t.Errorf("the last progress was %+v", last)
	}
	for _, key := range cl.bucket.Keys() {
		if err := cl.bucket.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, openCache(t, cache.dir, 10), cl.repo, ref.ID); !bytes.Equal(got, data) {
		t.Error("the content differs")
	}
	got, m, err := cache.Manifest(cl.repo, ref.ID)
	if err != nil || m.ID != ref.ID || cmp.Diff(ref, got) != "" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, partial := packFiles(t, cache); partial != 0 {
		t.Errorf("%d files are left unfinished", partial)
	}
}

func TestAPullFetchesEachPackOnceAndOnlyWhatIsMissing(t *testing.T) {
	cl, cache := newCluster(t), openCache(t, memoryDir(t), 10)
	data := noise(1, 8<<20)
	first, _ := cl.write(t, 1, data)
	if err := cache.Pull(t.Context(), cl.repo, first, nil); err != nil {
		t.Fatal(err)
	}
	before := cl.bucket.packs()
	data = append(bytes.Clone(data), noise(2, 1<<20)...)
	second, _ := cl.write(t, 1, data)
	cl.bucket.reads()
	if err := cache.Pull(t.Context(), cl.repo, second, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{second.Key}
	for _, key := range cl.bucket.packs() {
		if !slices.Contains(before, key) {
			want = append(want, key)
		}
	}
	got := cl.bucket.reads()
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("reads of the bucket: %s", d)
	}
	if err := cache.Pull(t.Context(), cl.repo, second, nil); err != nil {
		t.Fatal(err)
	}
	if again := cl.bucket.reads(); len(again) != 0 {
		t.Errorf("pulling what is cached read %v", again)
	}
	if !bytes.Equal(read(t, cache, cl.repo, second.ID), data) {
		t.Error("the content differs")
	}
}

// badPull is a backup that cannot be pulled.
type badPull struct {
	name  string
	spoil func(t *testing.T, cl *cluster, ref *backup.Ref, c *Cache)
	want  error
	says  string
}

var badPulls = []badPull{
	{"a pack that is missing", func(t *testing.T, cl *cluster, _ *backup.Ref, _ *Cache) {
		t.Helper()
		if err := cl.bucket.Delete(t.Context(), bigPack(t, cl)); err != nil {
			t.Fatal(err)
		}
	}, blobstore.ErrNotFound, "missing from the bucket"},
	{"a pack cut short", func(t *testing.T, cl *cluster, _ *backup.Ref, _ *Cache) {
		t.Helper()
		cl.bucket.edit(t, bigPack(t, cl), func(b []byte) []byte { return b[:len(b)/2] })
	}, pack.ErrCorrupt, "fetch pack"},
	{"a pack with a byte changed", func(t *testing.T, cl *cluster, _ *backup.Ref, _ *Cache) {
		t.Helper()
		cl.bucket.edit(t, bigPack(t, cl), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}, pack.ErrCorrupt, "not what its name says"},
	{"a pack without end", func(t *testing.T, cl *cluster, _ *backup.Ref, _ *Cache) {
		t.Helper()
		cl.bucket.edit(t, bigPack(t, cl), func(b []byte) []byte { return append(b, make([]byte, 2*pack.MaxPackSize)...) })
	}, pack.ErrCorrupt, "fetch pack"},
	{"a tampered manifest", func(t *testing.T, cl *cluster, ref *backup.Ref, _ *Cache) {
		t.Helper()
		cl.bucket.edit(t, ref.Key, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}, backup.ErrTampered, "digest"},
	{"a manifest of another backup", func(t *testing.T, cl *cluster, ref *backup.Ref, _ *Cache) {
		t.Helper()
		ref.Sequence++
	}, backup.ErrTampered, "sequence"},
	{"a missing manifest", func(t *testing.T, cl *cluster, ref *backup.Ref, _ *Cache) {
		t.Helper()
		if err := cl.bucket.Delete(t.Context(), ref.Key); err != nil {
			t.Fatal(err)
		}
	}, blobstore.ErrNotFound, "read manifest"},
	{"another key", func(t *testing.T, cl *cluster, _ *backup.Ref, _ *Cache) {
		t.Helper()
		key, err := seal.Generate(cl.random)
		if err != nil {
			t.Fatal(err)
		}
		if cl.repo.Ring, err = seal.NewRing(key); err != nil {
			t.Fatal(err)
		}
	}, seal.ErrUnknownKey, "another key"},
	{"another cluster", func(t *testing.T, cl *cluster, _ *backup.Ref, _ *Cache) {
		t.Helper()
		cl.repo.Cluster = "c-2"
	}, seal.ErrScope, "another cluster"},
	{"an id that leads elsewhere", func(t *testing.T, _ *cluster, ref *backup.Ref, _ *Cache) {
		t.Helper()
		ref.ID = "../" + ref.ID
	}, nil, "is not the id of a backup"},
	{"too little free space", func(t *testing.T, _ *cluster, _ *backup.Ref, c *Cache) {
		t.Helper()
		c.statFS = func(string) (fileSystem, error) { return fileSystem{free: margin + 512<<10}, nil }
	}, ErrNoSpace, "64 MiB of it to stay free"},
	{"a disk that fills up", func(t *testing.T, _ *cluster, _ *backup.Ref, c *Cache) {
		t.Helper()
		c.packs.create = (&smallDisk{left: 512 << 10}).create
	}, ErrNoSpace, "no space left on device"},
	{"a cancelled context", func(t *testing.T, cl *cluster, _ *backup.Ref, _ *Cache) {
		t.Helper()
		cl.bucket.spoil = func(key string) error {
			if strings.HasPrefix(key, "packs/") {
				return context.Canceled
			}
			return nil
		}
	}, context.Canceled, ""},
}

// bigPack is the key of the new pack that holds the second backup's content.
func bigPack(t *testing.T, cl *cluster) string {
	t.Helper()
	for attrs, err := range cl.bucket.List(t.Context(), "packs/", "") {
		if err != nil {
			t.Fatal(err)
		}
		if attrs.Time.Equal(cl.now) && attrs.Size > 512<<10 {
			return attrs.Key
		}
	}
	t.Fatal("there is no such pack")
	return ""
}

func TestAPullThatFailsSaysWhyAndLosesNothing(t *testing.T) {
	for _, c := range badPulls {
		t.Run(c.name, func(t *testing.T) {
			cl, cache := newCluster(t), openCache(t, memoryDir(t), 1)
			good := noise(1, 256<<10)
			goodRef, _ := cl.write(t, 1, good)
			if err := cache.Pull(t.Context(), cl.repo, goodRef, nil); err != nil {
				t.Fatal(err)
			}
			packs, _ := packFiles(t, cache)
			bad, _ := cl.write(t, 1, noise(2, 768<<10))
			repo := *cl.repo
			c.spoil(t, cl, &bad, cache)
			err := cache.Pull(t.Context(), cl.repo, bad, nil)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v: …%s…", err, c.want, c.says)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "pull backup "+bad.ID) {
				t.Errorf("the error does not name the backup: %v", err)
			}
			if d := cmp.Diff([]string{goodRef.ID}, ids(t, cache)); d != "" {
				t.Errorf("cached: %s", d)
			}
			if got := read(t, cache, &repo, goodRef.ID); !bytes.Equal(got, good) {
				t.Error("the backup that was cached has changed")
			}
			now, partial := packFiles(t, cache)
			if partial != 0 {
				t.Errorf("%d files are left unfinished", partial)
			}
			if errors.Is(c.want, ErrNoSpace) && now != packs {
				t.Errorf("%d packs are left on a full disk", now-packs)
			}
		})
	}
}

func TestAnInterruptedPullResumes(t *testing.T) {
	cl, dir := newCluster(t), memoryDir(t)
	cache := openCache(t, dir, 10)
	cache.packs.parallel = 1
	data := noise(1, 20<<20)
	ref, m := cl.write(t, 1, data)
	blocked := "packs/" + m.NewPacks[len(m.NewPacks)-1][:2] + "/" + m.NewPacks[len(m.NewPacks)-1]
	cl.bucket.spoil = func(key string) error {
		if key == blocked {
			return errors.New("cut off")
		}
		return nil
	}
	if err := cache.Pull(t.Context(), cl.repo, ref, nil); err == nil {
		t.Fatal("no error")
	}
	// What a crash leaves besides: half a pack.
	if err := os.WriteFile(cache.path("partial", "pack-123"), data[:1000], 0o600); err != nil {
		t.Fatal(err)
	}
	cl.bucket.spoil = nil
	cl.bucket.reads()
	cache = openCache(t, dir, 10)
	if _, partial := packFiles(t, cache); partial != 0 {
		t.Errorf("%d unfinished files outlived a restart", partial)
	}
	had, err := fs.Glob(os.DirFS(dir), "packs/*/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(had) < 2 || len(had) != len(m.NewPacks)-1 {
		t.Fatalf("%d of %d packs outlived the interruption", len(had), len(m.NewPacks))
	}
	if err := cache.Pull(t.Context(), cl.repo, ref, nil); err != nil {
		t.Fatal(err)
	}
	for _, key := range cl.bucket.reads() {
		if slices.Contains(had, key) {
			t.Errorf("%s was fetched again", key)
		}
	}
	if !bytes.Equal(read(t, cache, cl.repo, ref.ID), data) {
		t.Error("the content differs")
	}
}

func TestABodyThatBreaksOffIsFetchedAgain(t *testing.T) {
	cl, cache := newCluster(t), openCache(t, memoryDir(t), 10)
	data := noise(1, 3<<20)
	ref, _ := cl.write(t, 1, data)
	broken := &breaking{Store: cl.bucket}
	broken.left.Store(2)
	cl.repo.Store = broken
	var last backup.Progress
	if err := cache.Pull(t.Context(), cl.repo, ref, func(p backup.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if last.Done != last.Total {
		t.Errorf("the last progress was %+v", last)
	}
	if !bytes.Equal(read(t, cache, cl.repo, ref.ID), data) {
		t.Error("the content differs")
	}
}

// breaking breaks off the first bodies of packs that are read from it.
type breaking struct {
	blobstore.Store
	left atomic.Int32
}

func (s *breaking) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	body, attrs, err := s.Store.Get(ctx, key, opt)
	if err != nil || attrs.Size < 1<<20 || s.left.Add(-1) < 0 {
		return body, attrs, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(body, 1<<10), failing{}), body}, attrs, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestTheNewestBackupsAreKeptAndPacksThatNoneNeedsGo(t *testing.T) {
	cl, cache := newCluster(t), openCache(t, memoryDir(t), 3)
	var refs []backup.Ref
	for i := range 5 {
		// Epochs count before sequences.
		ref, _ := cl.write(t, uint64(1+i/3), noise(byte(i), 1<<20))
		refs = append(refs, ref)
		if err := cache.Pull(t.Context(), cl.repo, ref, nil); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{refs[4].ID, refs[3].ID, refs[2].ID}, ids(t, cache)); d != "" {
		t.Error(d)
	}
	needed := make(map[pack.Digest]bool)
	for i, ref := range refs[2:] {
		packs, err := cache.needs(ref.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packs {
			needed[p.Digest] = true
		}
		if !bytes.Equal(read(t, cache, cl.repo, ref.ID), noise(byte(2+i), 1<<20)) {
			t.Errorf("the content of %s differs", ref.ID)
		}
	}
	if packs, _ := packFiles(t, cache); packs != len(needed) {
		t.Errorf("%d packs are cached, %d are needed", packs, len(needed))
	}
	// An older one, pulled on purpose, stays; and so does one that is held.
	release, err := cache.Hold(refs[2].ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := cache.Pull(t.Context(), cl.repo, refs[0], nil); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{refs[4].ID, refs[3].ID, refs[2].ID, refs[0].ID}, ids(t, cache)); d != "" {
		t.Error(d)
	}
	sixth, _ := cl.write(t, 2, noise(6, 1<<20))
	if err := cache.Pull(t.Context(), cl.repo, sixth, nil); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{sixth.ID, refs[4].ID, refs[3].ID, refs[2].ID}, ids(t, cache)); d != "" {
		t.Errorf("while one is held: %s", d)
	}
	read(t, cache, cl.repo, refs[2].ID)
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := cache.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{sixth.ID, refs[4].ID, refs[3].ID}, ids(t, cache)); d != "" {
		t.Errorf("after its release: %s", d)
	}
}

func TestSpaceIsMadeFromPullsThatWereNeverResumed(t *testing.T) {
	// Space runs short before the new packs are fetched, or before the others.
	for short := 1; short <= 2; short++ {
		cl, cache := newCluster(t), openCache(t, memoryDir(t), 10)
		orphan := noise(9, 1<<20)
		if err := cache.PutPack(t.Context(), digest(orphan), orphan); err != nil {
			t.Fatal(err)
		}
		data := noise(1, 4<<20)
		cl.write(t, 1, data)
		data = append(data, noise(2, 1<<20)...)
		ref, _ := cl.write(t, 1, data)
		asked := 0
		cache.statFS = func(string) (fileSystem, error) {
			asked++
			if asked >= short && cache.packs.has(pack.Info{Digest: digest(orphan)}) {
				return fileSystem{free: margin}, nil
			}
			return fileSystem{free: margin + 8<<20}, nil
		}
		if err := cache.Pull(t.Context(), cl.repo, ref, nil); err != nil {
			t.Fatal(err)
		}
		if asked != 3 {
			t.Errorf("free space was asked for %d times", asked)
		}
		if !bytes.Equal(read(t, cache, cl.repo, ref.ID), data) {
			t.Error("the content differs")
		}
	}
}

// BenchmarkPull pulls a first backup of 128 MiB to disk, from memory and from
// a folder.
func BenchmarkPull(b *testing.B) {
	cl := newCluster(b)
	ref, m := cl.write(b, 1, noise(1, 128<<20))
	folder, err := filestore.New(b.Context(), b.TempDir(), filestore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, key := range cl.bucket.Keys() {
		if _, err := folder.Put(b.Context(), key, cl.bucket.content(b, key), blobstore.Always); err != nil {
			b.Fatal(err)
		}
	}
	for name, store := range map[string]blobstore.Store{"memory": cl.bucket, "file": folder} {
		b.Run(name, func(b *testing.B) {
			repo := *cl.repo
			repo.Store = store
			cache := openCache(b, b.TempDir(), 10)
			b.SetBytes(m.Size.Stored)
			b.ReportAllocs()
			for b.Loop() {
				if err := cache.Pull(b.Context(), &repo, ref, nil); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := cache.Purge(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkPullChange pulls one backup after the other, each with 1 MiB new in
// 64 MiB: what a standby does all day.
func BenchmarkPullChange(b *testing.B) {
	cl := newCluster(b)
	data := noise(1, 64<<20)
	first, _ := cl.write(b, 1, data)
	cache := openCache(b, b.TempDir(), 10)
	if err := cache.Pull(b.Context(), cl.repo, first, nil); err != nil {
		b.Fatal(err)
	}
	seed := byte(1)
	for b.Loop() {
		b.StopTimer()
		seed++
		ref, _ := cl.write(b, 1, append(data, noise(seed, 1<<20)...))
		b.StartTimer()
		if err := cache.Pull(b.Context(), cl.repo, ref, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// What somebody spoilt in the bucket is fetched from an earlier version.
func TestPullFetchesEarlierVersions(t *testing.T) {
	for name, spoil := range map[string]func(b *bucket, key string){
		"deleted": func(b *bucket, key string) {
			if err := b.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		},
		"changed":   func(b *bucket, key string) { b.edit(t, key, func(d []byte) []byte { d[len(d)/2] ^= 1; return d }) },
		"cut short": func(b *bucket, key string) { b.edit(t, key, func(d []byte) []byte { return d[:len(d)/2] }) },
	} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster(t)
			cl.bucket.Versioned = true
			want := noise(1, 300_000)
			ref, _ := cl.write(t, 1, want)
			for _, key := range cl.bucket.Keys() {
				spoil(cl.bucket, key)
			}
			cache := openCache(t, t.TempDir(), 10)
			if err := cache.Pull(t.Context(), cl.repo, ref, nil); err != nil {
				t.Fatal(err)
			}
			if got := read(t, cache, cl.repo, ref.ID); !bytes.Equal(got, want) {
				t.Error("the cached backup differs from what was backed up")
			}
		})
	}
}

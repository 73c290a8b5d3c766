package restore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
)

// mends collects what a cache tells of.
type mends struct {
	mu  sync.Mutex
	all []Mended
}

func (m *mends) tell(_ context.Context, one Mended) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, one)
}

// rot damages a file of the cache in one of several ways.
var rot = map[string]func(t *testing.T, path string){
	"a byte": func(t *testing.T, path string) {
		data, err := os.ReadFile(path)
		if err == nil {
			data[len(data)/2] ^= 1
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	},
	"cut short": func(t *testing.T, path string) {
		if err := os.Truncate(path, 100); err != nil {
			t.Fatal(err)
		}
	},
	"empty": func(t *testing.T, path string) {
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
	},
	"gone": func(t *testing.T, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	},
}

// largest is the path of the largest cached pack.
func largest(t *testing.T, c *Cache) (path string) {
	t.Helper()
	found, err := filepath.Glob(c.path("packs/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	var most int64
	for _, f := range found {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > most {
			path, most = f, info.Size()
		}
	}
	return path
}

func TestABadCachedPackIsTakenFromTheBucketAndReplaced(t *testing.T) {
	for name, damage := range rot {
		t.Run(name, func(t *testing.T) {
			cl, told := newCluster(t), new(mends)
			data := noise(1, 300_000)
			ref, m := cl.write(t, 1, data)
			c := openCache(t, t.TempDir(), 3)
			c.Mended = told.tell
			if err := c.Pull(t.Context(), cl.repo, ref, nil); err != nil {
				t.Fatal(err)
			}
			path := largest(t, c)
			sound, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damage(t, path)
			reader, _, err := cl.repo.Open(t.Context(), m, c.Mending(cl.repo))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(reader.Open(t.Context(), m.Sources[0].Root))
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("read %d bytes: %v", len(got), err)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, sound) {
				t.Errorf("the cached pack was not replaced: %v", err)
			}
			if len(told.all) != 1 || told.all[0].Err != nil || told.all[0].Why == nil {
				t.Errorf("told of %+v", told.all)
			}
			if _, partial := packFiles(t, c); partial > 0 {
				t.Errorf("%d unfinished files are left", partial)
			}
		})
	}
}

// What the bucket lacks too is an error that says so; other backups are not
// touched by it.
func TestAPackThatIsBadEverywhereIsSaidToBe(t *testing.T) {
	cl, told := newCluster(t), new(mends)
	old, _ := cl.write(t, 1, noise(1, 300_000))
	ref, m := cl.write(t, 1, noise(2, 400_000))
	c := openCache(t, t.TempDir(), 3)
	c.Mended = told.tell
	if err := errors.Join(c.Pull(t.Context(), cl.repo, old, nil), c.Pull(t.Context(), cl.repo, ref, nil)); err != nil {
		t.Fatal(err)
	}
	path := largest(t, c)
	rot["a byte"](t, path)
	if err := cl.bucket.Delete(t.Context(), "packs/"+filepath.Base(path)[:2]+"/"+filepath.Base(path)); err != nil {
		t.Fatal(err)
	}
	reader, _, err := cl.repo.Open(t.Context(), m, c.Mending(cl.repo))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(reader.Open(t.Context(), m.Sources[0].Root))
	if !errors.Is(err, pack.ErrCorrupt) || !errors.Is(err, blobstore.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if len(told.all) == 0 || told.all[0].Err == nil {
		t.Errorf("told of %+v", told.all)
	}
	read(t, c, cl.repo, old.ID)
	_, bad, err := c.Scrub(t.Context(), cl.repo, 1<<30)
	if err != nil || len(bad) != 1 || bad[0].Ref.ID != ref.ID {
		t.Errorf("the scrub found %+v, %v", bad, err)
	}
}

func TestTheScrubReadsTheCacheInRotationAndMendsIt(t *testing.T) {
	for name, damage := range rot {
		t.Run(name, func(t *testing.T) {
			cl, told, dir := newCluster(t), new(mends), t.TempDir()
			c := openCache(t, dir, 5)
			for i := range 4 {
				ref, _ := cl.write(t, 1, noise(byte(i), 100_000))
				if err := c.Pull(t.Context(), cl.repo, ref, nil); err != nil {
					t.Fatal(err)
				}
			}
			path := largest(t, c)
			damage(t, path)
			turns := 0
			for at := (Scrubbed{}); at.Round < 2; turns++ {
				if turns > 100 {
					t.Fatal("the rounds do not end")
				}
				c = openCache(t, dir, 5) // a restart loses no progress
				c.Mended = told.tell
				var bad []Unsound
				var err error
				if at, bad, err = c.Scrub(t.Context(), cl.repo, 50_000); err != nil || len(bad) > 0 {
					t.Fatalf("%+v, %v", bad, err)
				}
			}
			if turns < 6 {
				t.Errorf("two rounds took %d turns", turns)
			}
			if len(told.all) != 1 || told.all[0].Err != nil {
				t.Errorf("told of %+v", told.all)
			}
			for _, id := range ids(t, c) {
				read(t, c, cl.repo, id)
			}
		})
	}
}

func TestBadRecordsOfACachedBackupArePulledAgain(t *testing.T) {
	for _, file := range []string{"manifest.json", "packs"} {
		for name, damage := range rot {
			t.Run(file+" "+name, func(t *testing.T) {
				cl := newCluster(t)
				ref, _ := cl.write(t, 1, noise(1, 100_000))
				c := openCache(t, t.TempDir(), 3)
				if err := c.Pull(t.Context(), cl.repo, ref, nil); err != nil {
					t.Fatal(err)
				}
				damage(t, c.path("backups", ref.ID, file))
				if err := c.Sound(ref); err == nil {
					t.Fatal("the damage is not seen")
				}
				if _, bad, err := c.Scrub(t.Context(), cl.repo, 1<<30); err != nil || len(bad) > 0 {
					t.Fatalf("%+v, %v", bad, err)
				}
				if err := c.Sound(ref); err != nil {
					t.Error(err)
				}
				read(t, c, cl.repo, ref.ID)
			})
		}
	}
}

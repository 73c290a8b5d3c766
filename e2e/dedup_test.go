package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// TestUploadsWhatChanged backs up 1 GiB, then the same with 1% changed, then
// the same again, and looks at what was added to the bucket.
func TestUploadsWhatChanged(t *testing.T) {
	const size = 1 << 30
	bucket := t.TempDir()
	c := newCluster(t, "file://"+bucket, nil)
	data := filepath.Join(c.dir, "data")
	files := sourcetest.WriteTree(t, data, 11, sourcetest.TreeSize{Files: 3000, Bytes: size, Large: 4})
	a := c.host("host-a", plain{&sample{dir: data}})
	a.run("init")
	a.serve()
	query[backup.Ref](a, "backup")
	first := objects(t, bucket)

	changed := change(t, data, files, size/100)
	query[backup.Ref](a, "backup")
	second := objects(t, bucket)
	var uploaded int64
	for name, n := range second {
		if _, ok := first[name]; !ok {
			uploaded += n
		}
	}
	t.Logf("%d MiB of %d MiB changed: %.1f MiB uploaded", changed>>20, size>>20, float64(uploaded)/(1<<20))
	if uploaded > size*3/100 {
		t.Errorf("uploaded %d bytes, %.1f%% of the directory", uploaded, 100*float64(uploaded)/size)
	}

	query[backup.Ref](a, "backup") // reads again what changed a moment ago
	before := objects(t, bucket)
	ref := query[backup.Ref](a, "backup")
	var added []string
	for name := range objects(t, bucket) {
		if _, ok := before[name]; !ok {
			added = append(added, name)
		}
	}
	if !slices.Equal(added, []string{ref.Key}) {
		t.Errorf("a backup of what had not changed added %v, want the manifest alone", added)
	}
}

// objects gives the sizes of the bucket's objects.
func objects(t *testing.T, bucket string) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	err := filepath.WalkDir(bucket, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if os.IsNotExist(err) {
			return nil // the heartbeat replaced it
		}
		rel, _ := filepath.Rel(bucket, path)
		if err == nil && !strings.Contains("/"+rel, "/.") && rel != "head.json" && !strings.HasPrefix(rel, "instances/") {
			found[rel] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// change overwrites regions of the large files, which are the first four, and
// appends to a hundred of the small ones, n bytes in all.
func change(t *testing.T, dir string, files []string, n int64) int64 {
	t.Helper()
	random := rand.NewChaCha8([32]byte{3})
	pick := rand.New(random)
	write := func(name string, at, length int64) {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, length)
		_, _ = random.Read(b)
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	size := func(name string) int64 {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	var done int64
	for i := 0; done < n-64<<10; i++ {
		length, name := min(int64(1)<<20, n-done), files[i%4]
		write(name, pick.Int64N(size(name)-length), length)
		done += length
	}
	for i := range 100 {
		name := files[4+i*((len(files)-4)/100)]
		write(name, size(name), 200)
		done += 200
	}
	return done
}

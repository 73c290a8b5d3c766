package e2e

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/report"
)

var (
	besideFiles = flag.Int("beside.files", 300, "how many files the tree has of which backups are compared")
	besideSize  = flag.String("beside.size", "64MiB", "how large that tree is")
	besideTries = flag.Int("beside.tries", 1, "how often each thing is measured; the median counts")
	besideDir   = flag.String("beside.dir", "", "where restores go; in memory, what counts is not the file system's")
	besideOut   = flag.String("beside.out", "", "file to write what was measured to")
)

// rival is one way to back a tree up to a MinIO server and to restore it.
type rival interface {
	// backup backs the tree up, again and again to the same place.
	backup(t *testing.T)
	// restore restores the newest backup, and gives the tree's folder.
	restore(t *testing.T, to string) string
	// peak is how much memory a backup has taken at the most, in bytes.
	peak(t *testing.T) int64
	// stored is how much lies in the bucket, in bytes.
	stored(t *testing.T) int64
}

// TestBesideOthers measures backups and restores of a tree beside `tar | zstd`
// and restic, on one MinIO server. In the tests it looks at a small tree alone,
// and that each restores what it was given; `make bench` has it measure a large
// one.
func TestBesideOthers(t *testing.T) {
	size, err := humanize.ParseBytes(*besideSize)
	if err != nil {
		t.Fatal(err)
	}
	m := server.MinIO(t)
	c := &comparison{t: t, times: make(map[string]map[string][]float64)}
	for try := range *besideTries {
		c.measure(m, try, sourcetest.TreeSize{Files: *besideFiles, Bytes: int64(size), Large: 4})
	}
	t.Log("\n" + c.table())
	if *besideOut != "" {
		if err := os.WriteFile(*besideOut, []byte(c.page(size)), 0o644); err != nil {
			t.Error(err)
		}
	}
	us, _ := c.middle(uploaded, ours)
	if most := float64(size) / 20; us > most {
		t.Errorf("%.0f bytes were uploaded of 1%% that had changed, want %.0f at most", us, most)
	}
}

// Names of the rivals, and of what is measured.
const (
	ours, tarred, restic = "understudy", "tar \\| zstd -1 -T2 \\| upload", "restic"

	firstBackup = "first backup"
	unchanged   = "nothing changed"
	changed     = "1% changed"
	uploaded    = "1% changed: uploaded"
	fromBucket  = "restore from the bucket"
	fromCache   = "restore from a standby's cache"
	peakMemory  = "peak memory of backups"
)

var (
	rivals   = []string{ours, tarred, restic}
	measured = []string{firstBackup, unchanged, changed, uploaded, fromBucket, fromCache, peakMemory}
)

// comparison is what was measured: seconds or bytes, by what and whose.
type comparison struct {
	t     *testing.T
	times map[string]map[string][]float64
}

func (c *comparison) note(what, whose string, value float64) {
	if c.times[what] == nil {
		c.times[what] = make(map[string][]float64)
	}
	c.times[what][whose] = append(c.times[what][whose], value)
}

// took measures how long something takes.
func took(do func()) float64 {
	began := time.Now()
	do()
	return time.Since(began).Seconds()
}

// measure makes a tree, and has each rival back it up, three times, and restore
// it.
func (c *comparison) measure(m *server.MinIOServer, try int, size sourcetest.TreeSize) {
	t := c.t
	dir := filepath.Join(t.TempDir(), "tree")
	files := sourcetest.WriteTree(t, dir, uint64(try+1), size)
	all := map[string]rival{
		tarred: &tarball{m: m, bucket: bucketName(t, m.NewBucket(t)), dir: dir},
		restic: newResticRepository(t, m, dir),
	}
	us := newUnderstudyRival(t, m, dir)
	c.note(firstBackup, ours, us.first(t))
	all[ours] = us
	for _, name := range []string{tarred, restic} {
		c.note(firstBackup, name, took(func() { all[name].backup(t) }))
	}
	for _, name := range rivals {
		c.note(unchanged, name, took(func() { all[name].backup(t) }))
	}
	change(t, dir, files, size.Bytes/100)
	for _, name := range rivals {
		before := all[name].stored(t)
		c.note(changed, name, took(func() { all[name].backup(t) }))
		if name != tarred {
			c.note(uploaded, name, float64(all[name].stored(t)-before))
		}
		c.note(peakMemory, name, float64(all[name].peak(t)))
	}
	for _, name := range rivals {
		to := filepath.Join(restoreDir(t), "restored")
		c.note(fromBucket, name, took(func() { to = all[name].restore(t, to) }))
		sourcetest.CompareTrees(t, dir, to, isRoot)
	}
	to := filepath.Join(restoreDir(t), "restored")
	us.standby(t)
	c.note(fromCache, ours, took(func() { to = us.restoreOn(t, us.b, to) }))
	sourcetest.CompareTrees(t, dir, to, isRoot)
	us.a.stopAgent()
}

// restoreDir is a new folder to restore to.
func restoreDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(*besideDir, "understudy-beside-") //nolint:usetesting // it may be elsewhere
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// isRoot is what restic does not restore.
func isRoot(path string) bool { return path == "." }

// understudyRival is this program: an active, and in the end a standby.
type understudyRival struct {
	m      *server.MinIOServer
	c      *cluster
	a, b   *host
	bucket string
}

func newUnderstudyRival(t *testing.T, m *server.MinIOServer, dir string) *understudyRival {
	t.Helper()
	u := &understudyRival{m: m, bucket: m.NewBucket(t)}
	u.c = newCluster(t, u.bucket, m.Env())
	u.a = u.host("host-a", dir)
	u.a.run("init")
	return u
}

func (u *understudyRival) host(name, dir string) *host {
	h := u.c.host(name, plain{&sample{dir: dir}})
	h.bin = fastBin()
	return h
}

// first starts the active, which makes the first backup, and gives how long that
// took.
func (u *understudyRival) first(t *testing.T) float64 {
	u.a.serve()
	s := u.a.long("has made the first backup", func(s report.Status) bool { return s.LastBackup != nil })
	u.a.run("pause")
	return s.Stats.BackupSeconds
}

func (u *understudyRival) backup(*testing.T) { u.a.runLong("backup") }

func (u *understudyRival) restore(t *testing.T, to string) string {
	elsewhere := u.host("host-c", u.a.path("nowhere")) // which has no cache
	return u.restoreOn(t, elsewhere, to)
}

func (u *understudyRival) restoreOn(_ *testing.T, h *host, to string) string {
	h.runLong("restore", "latest", "--to", to)
	return filepath.Join(to, "files")
}

// standby has a second host cache the newest backup.
func (u *understudyRival) standby(t *testing.T) {
	t.Helper()
	u.b = u.host("host-b", u.a.path("standby"))
	u.b.run("join")
	u.b.serve()
	u.b.long("has the newest backup", func(s report.Status) bool { return s.State == report.StateInSync && s.Work == "" })
	u.b.stopAgent()
}

func (u *understudyRival) peak(t *testing.T) int64 { return peakOf(t, u.a.agent.Process.Pid) }

func (u *understudyRival) stored(t *testing.T) int64 { return sizeOf(t, u.m, bucketName(t, u.bucket)) }

// tarball is `tar | zstd` into one object.
type tarball struct {
	m           *server.MinIOServer
	bucket, dir string
	most        int64
}

const tarballName = "tree.tar.zst"

func (b *tarball) backup(t *testing.T) {
	t.Helper()
	tar, zstd := exec.Command("tar", "--format=posix", "-C", b.dir, "-c", "."), exec.Command("zstd", "-1", "-T2", "-q", "-c")
	var err error
	if zstd.Stdin, err = tar.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := zstd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tar.Start(), zstd.Start()); err != nil {
		t.Fatal(err)
	}
	_, err = b.m.Client(t).PutObject(t.Context(), b.bucket, tarballName, out, -1, minio.PutObjectOptions{
		PartSize: 16 << 20, NumThreads: 4, ConcurrentStreamParts: true, DisableContentSha256: true,
	})
	if err := errors.Join(err, tar.Wait(), zstd.Wait()); err != nil {
		t.Fatalf("back up with tar: %v", err)
	}
	b.most = max(b.most, peakOfEnded(tar)+peakOfEnded(zstd))
}

func (b *tarball) restore(t *testing.T, to string) string {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	object, err := b.m.Client(t).GetObject(t.Context(), b.bucket, tarballName, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	zstd, tar := exec.Command("zstd", "-d", "-q", "-c"), exec.Command("tar", "-C", to, "-x", "-p")
	zstd.Stdin = object
	if tar.Stdin, err = zstd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tar.Start(), zstd.Run(), tar.Wait()); err != nil {
		t.Fatalf("restore with tar: %v", err)
	}
	return to
}

func (b *tarball) peak(*testing.T) int64 { return b.most }

func (b *tarball) stored(t *testing.T) int64 { return sizeOf(t, b.m, b.bucket) }

// resticRepository is restic's.
type resticRepository struct {
	m           *server.MinIOServer
	bucket, dir string
	most        int64
}

func newResticRepository(t *testing.T, m *server.MinIOServer, dir string) *resticRepository {
	t.Helper()
	r := &resticRepository{m: m, bucket: bucketName(t, m.NewBucket(t)), dir: dir}
	r.run(t, "init")
	return r
}

func (r *resticRepository) run(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("restic", args...)
	cmd.Dir = r.dir
	cmd.Env = append(append(os.Environ(), r.m.Env()...), "RESTIC_PASSWORD=correct horse", "RESTIC_REPOSITORY=s3:http://"+r.m.Address+"/"+r.bucket,
		"RESTIC_CACHE_DIR="+filepath.Join(filepath.Dir(r.dir), "restic-cache"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("restic %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	r.most = max(r.most, peakOfEnded(cmd))
}

func (r *resticRepository) backup(t *testing.T) { r.run(t, "backup", "--quiet", ".") }

func (r *resticRepository) restore(t *testing.T, to string) string {
	r.run(t, "restore", "latest", "--quiet", "--target", to)
	return to
}

func (r *resticRepository) peak(*testing.T) int64 { return r.most }

func (r *resticRepository) stored(t *testing.T) int64 { return sizeOf(t, r.m, r.bucket) }

// peakOfEnded is how much memory a process that has ended took at the most.
func peakOfEnded(cmd *exec.Cmd) int64 {
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10
	}
	return 0
}

// sizeOf is how much lies in a bucket.
func sizeOf(t *testing.T, m *server.MinIOServer, bucket string) (n int64) {
	t.Helper()
	for object := range m.Client(t).ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true}) {
		if object.Err != nil {
			t.Fatal(object.Err)
		}
		n += object.Size
	}
	return n
}

// middle is the median; false when nothing was measured.
func (c *comparison) middle(what, whose string) (float64, bool) {
	all := slices.Sorted(slices.Values(c.times[what][whose]))
	if len(all) == 0 {
		return 0, false
	}
	return all[len(all)/2], true
}

// table has a line for each thing, and a column for each rival.
func (c *comparison) table() string {
	version, _ := exec.Command("restic", "version").Output()
	name, _, _ := strings.Cut(string(version), " compiled")
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s | %s | %s |\n| --- | --- | --- | --- |\n", ours, tarred, cmp.Or(name, restic))
	for _, what := range measured {
		b.WriteString("| " + what + " |")
		for _, whose := range rivals {
			value, known := c.middle(what, whose)
			switch {
			case !known:
				b.WriteString(" – |")
			case what == uploaded || what == peakMemory:
				fmt.Fprintf(&b, " %s |", humanize.IBytes(uint64(max(0, value))))
			default:
				fmt.Fprintf(&b, " %.2f s |", value)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// ratios says how this program's times compare with the others'.
func (c *comparison) ratios() string {
	var b strings.Builder
	for _, what := range []string{firstBackup, unchanged, changed, fromBucket} {
		us, _ := c.middle(what, ours)
		tar, _ := c.middle(what, tarred)
		other, _ := c.middle(what, restic)
		fmt.Fprintf(&b, "- %s: %.2f of the time of tar and zstd, %.2f of restic's.\n", what, us/tar, us/other)
	}
	return b.String()
}

func (c *comparison) page(size uint64) string {
	return fmt.Sprintf("# Beside others\n\n`make bench` wrote this file. A tree of %s in %d files, of which about half cannot be compressed, is backed up to a MinIO server on the same machine, again as it is, and again after 1%% of the bytes have become others, none of which can be compressed, in four large files, and a hundred small files have grown by 200; then it is restored, to memory. "+
		"The median of %d runs; tar uploads with minio-go, 16 MiB at a time, four at once. All but tar deduplicate and encrypt; understudy signs, too, and its standbys are told.\n\n"+
		"The first backup is what the agent says that it took; everything else is a whole command. Memory is the peak of the resident set: of the agent since it began, of restic, of tar and zstd together.\n\nMeasured on %s.\n\n%s\n%s",
		humanize.IBytes(size), *besideFiles, *besideTries, machine(), c.table(), c.ratios())
}

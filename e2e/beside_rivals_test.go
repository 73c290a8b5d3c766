package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/client"
	"github.com/understudy-ha/understudy/ha/report"
)

// rival is one way to back a tree up to a MinIO server and to restore it.
type rival interface {
	// first makes the first backup, with all that has to be started for it.
	first(t *testing.T)
	// idle keeps what was started from working by itself.
	idle(t *testing.T)
	// backup backs the tree up, again and again to the same place.
	backup(t *testing.T)
	// restore restores the newest backup, and gives the tree's folder.
	restore(t *testing.T, to string) string
	// peak is how much memory a backup has taken at the most, in bytes.
	peak(t *testing.T) int64
	// stored is how much lies in the bucket, in bytes.
	stored(t *testing.T) int64
	// processes are those that were started, and run on.
	processes() []int
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
	return u.c.host(name, plain{&sample{dir: dir}})
}

// first starts the active, which makes the first backup. The agent is asked in this
// process: a command would take a processor's time from it.
func (u *understudyRival) first(t *testing.T) {
	t.Helper()
	u.a.launch()
	agent, err := client.New(filepath.Join(u.a.path("data"), "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	often := time.NewTicker(25 * time.Millisecond) // an answer costs half a millisecond or so
	defer often.Stop()
	late := time.NewTimer(measuring)
	defer late.Stop()
	for {
		var s report.Status
		if err := agent.Do(t.Context(), http.MethodGet, "/api/v1/status", nil, &s); err == nil && s.LastBackup != nil {
			return
		}
		select {
		case <-often.C:
		case <-u.a.exited:
			t.Fatal("the agent ended before it had made a backup")
		case <-late.C:
			t.Fatalf("no backup within %v", measuring)
		}
	}
}

func (u *understudyRival) idle(*testing.T) { u.a.run("pause") }

func (u *understudyRival) processes() []int {
	if u.a.agent == nil {
		return nil
	}
	return []int{u.a.agent.Process.Pid}
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

// commands is what rivals have in common that are commands alone.
type commands struct{}

func (commands) idle(*testing.T)  {}
func (commands) processes() []int { return nil }

// tarball is `tar | zstd` into one object.
type tarball struct {
	commands

	m           *server.MinIOServer
	bucket, dir string
	most        int64
}

const tarballName = "tree.tar.zst"

func (b *tarball) first(t *testing.T) { b.backup(t) }

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
	commands

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

func (r *resticRepository) first(t *testing.T) { r.backup(t) }

func (r *resticRepository) backup(t *testing.T) { r.run(t, "backup", "--quiet", ".") }

func (r *resticRepository) restore(t *testing.T, to string) string {
	r.run(t, "restore", "latest", "--quiet", "--target", to)
	return to
}

func (r *resticRepository) peak(*testing.T) int64 { return r.most }

func (r *resticRepository) stored(t *testing.T) int64 { return sizeOf(t, r.m, r.bucket) }

// kopiaRepository is that of a kopia that somebody has built.
type kopiaRepository struct {
	commands

	m           *server.MinIOServer
	bin         string
	bucket, dir string
	most        int64
}

func newKopiaRepository(t *testing.T, m *server.MinIOServer, bin, dir string) *kopiaRepository {
	t.Helper()
	k := &kopiaRepository{m: m, bin: bin, bucket: bucketName(t, m.NewBucket(t)), dir: dir}
	k.run(t, "repository", "create", "s3", "--bucket="+k.bucket, "--endpoint="+m.Address, "--disable-tls",
		"--access-key="+m.AccessKey, "--secret-access-key="+m.SecretKey, "--region=us-east-1")
	k.run(t, "policy", "set", "--global", "--compression=zstd-fastest")
	return k
}

func (k *kopiaRepository) run(t *testing.T, args ...string) string {
	t.Helper()
	home := filepath.Join(filepath.Dir(k.dir), "kopia")
	cmd := exec.Command(k.bin, append(args, "--no-progress", "--config-file="+filepath.Join(home, "config"), "--log-dir="+filepath.Join(home, "log"))...)
	cmd.Env = append(os.Environ(), "HOME="+home, "KOPIA_PASSWORD=correct horse", "KOPIA_CHECK_FOR_UPDATES=false",
		"KOPIA_CACHE_DIRECTORY="+filepath.Join(home, "cache"))
	var out, errout strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errout
	if err := cmd.Run(); err != nil {
		t.Fatalf("kopia %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errout.String())
	}
	k.most = max(k.most, peakOfEnded(cmd))
	return out.String()
}

func (k *kopiaRepository) first(t *testing.T) { k.backup(t) }

func (k *kopiaRepository) backup(t *testing.T) { k.run(t, "snapshot", "create", k.dir) }

func (k *kopiaRepository) restore(t *testing.T, to string) string {
	var all []struct{ ID string }
	if err := json.Unmarshal([]byte(k.run(t, "snapshot", "list", "--json", k.dir)), &all); err != nil || len(all) == 0 {
		t.Fatalf("list snapshots of kopia: %v, %d", err, len(all))
	}
	k.run(t, "restore", all[len(all)-1].ID, to)
	return to
}

func (k *kopiaRepository) peak(*testing.T) int64 { return k.most }

func (k *kopiaRepository) stored(t *testing.T) int64 { return sizeOf(t, k.m, k.bucket) }

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

// processorTime is how long processors have worked for this process, for those of its
// children that have ended, and for some that have not.
func processorTime(t *testing.T, others []int) (sum time.Duration) {
	t.Helper()
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	const tick = 10 * time.Millisecond // of what the kernel tells of other processes
	for _, pid := range others {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')'):]))
		for _, field := range fields[12:14] { // utime and stime
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

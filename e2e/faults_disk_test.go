package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha/report"
)

// disk is a small file system in memory.
type disk struct {
	t   *testing.T
	dir string
}

// diskOptions give room for what is kept free, and little more.
const diskOptions = "size=160m"

// newDisk mounts one, for one test.
func newDisk(t *testing.T, dir string) disk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := mount(dir, 0, diskOptions+",nr_inodes=100000,mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return disk{t, dir}
}

func mount(dir string, flags uintptr, options string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		return fmt.Errorf("mount a tmpfs at %s: %w", dir, err)
	}
	return nil
}

// used is how many files and folders the disk has.
func (d disk) used() int {
	d.t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		d.t.Fatal(err)
	}
	return int(s.Files - s.Ffree)
}

// files lets the disk have so many files and folders.
func (d disk) files(n int) {
	d.t.Helper()
	if err := mount(d.dir, unix.MS_REMOUNT, fmt.Sprintf("%s,nr_inodes=%d", diskOptions, n)); err != nil {
		d.t.Fatal(err)
	}
}

func (d disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill takes all room that is left.
func (d disk) fill() {
	f, err := os.Create(d.ballast())
	if err == nil {
		_, err = io.Copy(f, zeros{})
		err = errors.Join(err, f.Close())
	}
	if !errors.Is(err, unix.ENOSPC) {
		d.t.Errorf("fill %s: %v", d.dir, err)
	}
}

// filling is a hook's script that does the same.
func (d disk) filling() string { return fmt.Sprintf("cat /dev/zero > %q || true", d.ballast()) }

// empty gives the room back.
func (d disk) empty() {
	d.t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		d.t.Fatal(err)
	}
}

// zeros are bytes without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// namespaceEnv marks a test process that has a mount namespace of its own.
const namespaceEnv = "UNDERSTUDY_E2E_NAMESPACE"

// mayMount reports whether this process may mount; where it may not, it has
// run the test in a process that may.
func mayMount(t *testing.T) bool {
	t.Helper()
	dir := t.TempDir()
	err := mount(dir, 0, diskOptions)
	if err == nil {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) || os.Getenv(namespaceEnv) != "" {
		t.Fatalf("this test needs a small disk to fill, as root or with unprivileged user namespaces: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), namespaceEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a namespace of its own, where it may mount: %v\n%s", err, out)
	}
	return false
}

// TestNothingIsLostOnFullDisks fills the disk that a backup, a pull, a restore
// and a swap write to, each while it is under way.
func TestNothingIsLostOnFullDisks(t *testing.T) {
	t.Parallel()
	if !mayMount(t) {
		return
	}
	var data, cache, live disk
	o := newOrdeal(t, func(name, dir, app string) {
		if name == "host-a" {
			data = newDisk(t, filepath.Join(dir, "data"))
		} else {
			cache, live = newDisk(t, filepath.Join(dir, "data", "cache")), newDisk(t, app)
		}
	})
	o.setUp()
	o.fullDuringBackup(data)
	o.fullDuringPull(cache)
	o.fullDuringStaging(live)
	o.fullDuringSwap(live)
	o.fullDuringPromotion(data)
}

// noRoom is how the system says that a disk is full.
const noRoom = "no space left on device"

// fullDuringBackup fills the active's data folder. The agent has room kept for
// its journal, and goes on; so does the application.
func (o *ordeal) fullDuringBackup(data disk) {
	o.begin("the active's disk is full during a backup")
	app := o.apps[o.active]
	app.misbehave(o.t, "pre_backup", data.filling())
	o.await(o.active.background("backup"))
	o.outlives(o.active, data)
	app.behave(o.t, "pre_backup")
	o.moreWrites(10)
	data.empty()
	o.sound()
}

// outlives checks that an agent says that the disk of its data folder is full, and
// goes on.
func (o *ordeal) outlives(h *host, data disk) {
	o.t.Helper()
	full := "the disk of the data folder " + data.dir + " is full"
	h.eventually("has a full disk for a problem", func() error {
		if s := h.status(); !slices.ContainsFunc(s.Problems, func(p string) bool { return strings.HasPrefix(p, full) }) {
			return fmt.Errorf("problems %q", s.Problems)
		}
		return nil
	})
	if h.ended() {
		o.t.Errorf("%s: the agent has ended because its disk is full", h.name)
		o.revived(h)
	}
}

// fullDuringPull fills the standby's cache between the look at the free space
// and the packs.
func (o *ordeal) fullDuringPull(cache disk) {
	o.begin("the standby's cache is full during a pull")
	o.proxies[o.standby].Inject(storetest.NetFault{
		When: func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/packs/")
		},
		Do: func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
			cache.fill()
			pass.ServeHTTP(w, r)
		},
	})
	o.grow(1 << 20)
	ref := query[backup.Ref](o.active, "backup")
	o.says(o.standby, "level=ERROR", "pull failed (tried again in", "not enough free space in "+cache.dir)
	for _, cached := range o.standby.status().Cached {
		if cached.ID == ref.ID {
			o.t.Error("a backup for which there was no room counts as cached")
		}
	}
	cache.empty()
	o.revived(o.standby)
	o.standby.caches(ref.ID)
	o.sound()
}

// fullDuringStaging leaves room for half of the new files to be restored: in the
// rehearsal, which keeps what it had, and in a promotion all the same.
func (o *ordeal) fullDuringStaging(live disk) {
	o.begin("the standby's disk is full during staging")
	good := o.standby.status().Staged
	live.files(live.used() + 150)
	for i := range 300 {
		path := filepath.Join(o.apps[o.active].dir, "static", fmt.Sprint("page-", i))
		if err := os.WriteFile(path, []byte(path), 0o644); err != nil {
			o.t.Fatal(err)
		}
	}
	o.replicate(o.active, o.standby)
	o.says(o.standby, "level=ERROR", "the rehearsal of backup", noRoom, live.dir)
	o.standby.is(report.StateRehearsalFailed)
	o.standby.eventually("has its last good stage", func() error {
		if s := o.standby.status(); s.Staged != good {
			return fmt.Errorf("staged is %q, not %s", s.Staged, good)
		}
		return nil
	})
	o.standby.fails(3, "--allow-failed-rehearsal", "promote", "--yes")
	o.standby.fails(1, noRoom, "promote", "--yes", "--allow-failed-rehearsal")
	o.says(o.standby, "level=WARN", "given up", "restoring backup", noRoom, live.dir)
	o.says(o.standby, "level=WARN", "rolled back, everything is as before")
	live.files(100_000)
	o.sound()
}

// fullDuringSwap fills the disk once all is staged: everything is put back.
func (o *ordeal) fullDuringSwap(live disk) {
	o.begin("the standby's disk is full during the swap")
	app := o.apps[o.standby]
	app.misbehave(o.t, "probe", live.filling())
	o.standby.fails(1, noRoom, "promote", "--yes")
	o.says(o.standby, "level=WARN", "given up", "swapping the restored state into place failed", noRoom, live.dir)
	o.says(o.standby, "level=WARN", "rolled back, everything is as before")
	app.behave(o.t, "probe")
	live.empty()
	o.sound()
	o.standby.run("promote", "--yes")
	o.turned()
	o.sound()
}

// fullDuringPromotion fills the candidate's data folder once all is staged.
// Without its journal the agent ends, and undoes the promotion when there is
// room again; or the promotion has gone through.
func (o *ordeal) fullDuringPromotion(data disk) {
	o.begin("the candidate's data folder is full during the swap")
	app := o.apps[o.standby]
	app.misbehave(o.t, "probe", data.filling())
	r := o.await(o.standby.background("promote", "--yes"))
	o.outlives(o.standby, data)
	app.behave(o.t, "probe")
	data.empty()
	if r.code == 0 {
		o.turned()
	} else {
		o.says(o.standby, "level=WARN", "rolled back, everything is as before")
	}
	o.sound()
}

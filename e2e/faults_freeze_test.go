package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// frozen is an ext4 of a test's own, all writes to which can be held up.
type frozen struct {
	t   *testing.T
	dir string
}

func newFrozen(t *testing.T, dir string) frozen {
	t.Helper()
	image := dir + ".img"
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(256 << 20)
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	tool(t, "mkfs.ext4", "-q", "-F", image)
	tool(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return frozen{t, dir}
}

func tool(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := output(argv[0], argv[1:]...); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}

func (f frozen) freeze() { f.t.Helper(); tool(f.t, "fsfreeze", "--freeze", f.dir) }
func (f frozen) thaw()   { f.t.Helper(); tool(f.t, "fsfreeze", "--unfreeze", f.dir) }

// newStrictOrdeal has the active's folders on a disk that can be frozen, and strict
// fencing.
func newStrictOrdeal(t *testing.T) (o *ordeal, disk frozen) {
	t.Helper()
	o = newOrdeal(t, func(name, dir, _ string) {
		if name == "host-a" {
			disk = newFrozen(t, dir)
		}
	})
	o.setUp()
	o.active.run("config", "set", "fencing", "strict")
	o.active.is("active")
	return o, disk
}

// stopsInTime waits until a host's application has stopped, by its bound.
func (o *ordeal) stopsInTime(h *host) {
	o.t.Helper()
	since := time.Now()
	within(o.t, ordealTTL-ordealMargin, "the application is stopped", func() error {
		if o.apps[h].running(o.t) {
			return fmt.Errorf("it runs after %v", time.Since(since))
		}
		return nil
	})
	o.t.Logf("the application had stopped after %v", time.Since(since).Round(time.Millisecond))
}

// TestAFrozenDiskHoldsUpNoStop freezes the file system on which an active's data
// folder, its configuration and its log are: no write ends, as on a disk that
// hangs. Under strict fencing the application is stopped by its bound all the same.
func TestAFrozenDiskHoldsUpNoStop(t *testing.T) {
	t.Parallel()
	o, disk := newStrictOrdeal(t)
	a := o.active
	o.begin("the active's disk is frozen")
	disk.freeze()
	thaw := sync.OnceFunc(disk.thaw)
	defer thaw()
	o.stopsInTime(a)
	a.eventually("the status says so", func() error {
		asked := time.Now()
		s := a.status()
		if took := time.Since(asked); took > 2*time.Second {
			t.Errorf("the status took %v", took)
		}
		if s.Healthy || !slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "does not answer") }) {
			return fmt.Errorf("problems %q", s.Problems)
		}
		return nil
	})
	if events := a.run("events"); !strings.Contains(events, "does not answer") {
		t.Errorf("the events do not say so:\n%s", events)
	}
	thaw()
	o.says(a, "the journal can be written again")
	o.healed()
	if !o.apps[a].running(t) {
		t.Error("the application does not run though the disk works")
	}
}

// TestAnAgentThatStartsOnAFrozenDiskStopsItsApplication: the agent has ended, and is
// started again by a disk to which no write ends. Its application runs on its own, and
// is stopped by its bound. The agent goes on once the disk does.
func TestAnAgentThatStartsOnAFrozenDiskStopsItsApplication(t *testing.T) {
	t.Parallel()
	o, disk := newStrictOrdeal(t)
	a := o.active
	o.begin("the active's agent is killed, its disk is frozen, and it is started again")
	a.killAgent()
	disk.freeze()
	thaw := sync.OnceFunc(disk.thaw)
	defer thaw()
	a.launch()
	o.stopsInTime(a)
	thaw()
	a.eventually("the agent answers", func() error {
		if r := a.try("status", "--json"); r.code != 0 {
			return errors.New(r.errout)
		}
		return nil
	})
	o.says(a, "the agent cannot begin yet", "does not answer")
	o.healed()
	if !o.apps[a].running(t) {
		t.Error("the application does not run though the disk works")
	}
}

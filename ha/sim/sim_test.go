package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds = flag.Uint64("sim.seeds", 500, "how many seeds to run")
	first = flag.Uint64("sim.first", 1, "the first of them")
	seed  = flag.Uint64("sim.seed", 0, "run this one seed (with -v: with a trace)")
)

// TestMain collects garbage less often than usual: a run makes much of it, and each is
// soon over.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// TestProtocolHoldsUnderFaults runs the core through whatever each seed draws.
func TestProtocolHoldsUnderFaults(t *testing.T) { holds(t, options) }

// TestCopiesAndRollbacksHideNothing runs the core where hosts of every role are
// copied and put back, in every phase, with an operator who does what the messages
// say.
func TestCopiesAndRollbacksHideNothing(t *testing.T) {
	holds(t, func(seed uint64) Options {
		o := options(seed)
		o.Copies = true
		return o
	})
}

// holds runs the seeds that were asked for.
func holds(t *testing.T, at func(seed uint64) Options) {
	t.Helper()
	if *seed != 0 {
		o := at(*seed)
		if testing.Verbose() {
			o.Trace = t.Logf
		}
		if err := New(o).Run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	var failures failures
	forSeeds(*first, *seeds, func(s uint64) {
		if err := New(at(s)).Run(); err != nil {
			failures.add(t, s, err)
		}
	})
}

func options(seed uint64) Options { return Options{Seed: seed, Duration: 20 * time.Minute} }

// forSeeds runs do for n seeds, on all processors.
func forSeeds(from, n uint64, do func(seed uint64)) {
	next := make(chan uint64)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := range next {
				do(s)
			}
		})
	}
	for s := range n {
		next <- from + s
	}
	close(next)
	wg.Wait()
}

// failures prints the first few seeds that failed.
type failures struct {
	mu sync.Mutex
	n  int
}

func (f *failures) add(t *testing.T, seed uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.n > 10 {
		t.Fail()
		return
	}
	t.Errorf("%v\nrun again with: go test ./ha/sim -run %s -sim.seed %d -v", err, t.Name(), seed)
}

// TestRunsAreDecidedByTheirSeed checks that a failing seed can be replayed.
func TestRunsAreDecidedByTheirSeed(t *testing.T) {
	forSeeds(1, 10, func(s uint64) {
		trace := func() string {
			var all strings.Builder
			o := options(s)
			o.Trace = func(format string, args ...any) { fmt.Fprintf(&all, format+"\n", args...) }
			if err := New(o).Run(); err != nil {
				t.Error(err)
			}
			return all.String()
		}
		if first := trace(); first != trace() {
			t.Errorf("seed %d: two runs differ", s)
		}
	})
}

// everyRuns is how many runs TestEverythingHappens looks at.
const everyRuns = 300

// happens are texts of traces, each with the share of the runs that have it, at
// least: what the protocol comes to in any of them, and how often each fault is there.
var happens = map[string]float64{
	"handed over to": 0, "taken back: this": 0, "is the active, in epoch": 0, "not handing over": 0,
	"rolled back, everything": 0, "cancelled by the operator": 0, "the agent was restarted": 0,
	"salvage backup salvage": 0, "nothing to salvage": 0, "still owes a salvage": 0,
	"not active: head.json": 0, "the name host-": 0, "without the bucket:": 0, "no acknowledgement": 0,
	"acknowledged by": 0, "became the active in epoch": 0, "look again": 0,
	"a newer backup appeared": 0, "lease could not be renewed": 0, "silent": 0,
	"holds the promotion lease": 0, "restoring backup": 0, "swapping the restored": 0,
	"could not be brought to be": 0, "joins it afresh": 0, "is rehearsed: restored": 0, "the rehearsal of backup": 0,
	"restore is done: ": 0, ": rehearsed": 0, "the host resumes": 0, "the agent goes on": 0,
	"the bucket has no head.json": 0.1, "the bucket shows an older version of ": 0.02, "has the cluster go on": 0,
	"the journal cannot be written": 0.1, "its marker is missing": 0,

	"is in force": 0.2, // a changed setting
	"the disk of the data folder does not work (1)": 0.2, // it hangs
	"the disk of the data folder does not work (2)": 0.2, // it fails
	"sees older versions: ":                         0.3,
	"somebody deletes head.json":                    0.2, "somebody deletes lease.json": 0.1, "somebody deletes instances/": 0.2,
	"somebody deletes demote/": 0.1, ".ack.json": 0.02, ".salvage.json": 0.02,
	"the agent crashes": 0.3, "the host goes down": 0.2, "cut off from the store (1)": 0.3, "cut off from the store (2)": 0.2,
	"the agent is stopped": 0.3, "the host is suspended": 0.3, "is copied, to": 0.05, "is put back to a snapshot": 0.05,
	"its data folder is put back": 0.1, "told to end": 0.2, "a part of the cache rots": 0.2, "somebody starts the application": 0.2,
	"the stage is damaged": 0.2, "the volume of the application's data is not there": 0.3, "the bucket is put back": 0.05,
	"is pointed at a replica": 0.05, "cannot be verified": 0.2,
}

// TestEverythingHappens checks that the runs go where it matters, and that each fault
// is often there.
func TestEverythingHappens(t *testing.T) {
	var mu sync.Mutex
	found := map[string]int{}
	forSeeds(1, everyRuns, func(s uint64) {
		var trace strings.Builder
		o := options(s)
		o.Trace = func(format string, args ...any) { fmt.Fprintf(&trace, format+"\n", args...) }
		_ = New(o).Run() // what fails is another test's
		all := trace.String()
		mu.Lock()
		defer mu.Unlock()
		for want := range happens {
			if strings.Contains(all, want) {
				found[want]++
			}
		}
	})
	for want, share := range happens {
		if n := found[want]; float64(n) < max(1, share*everyRuns) {
			t.Errorf("in %d of %d runs: %q", n, everyRuns, want)
		}
		t.Logf("%3d %% %s", 100*found[want]/everyRuns, want)
	}
}

// TestQuietClusterPromotes checks that without faults promotions succeed, and
// the cluster stays at rest.
func TestQuietClusterPromotes(t *testing.T) {
	const seeds = 30
	var epochs atomic.Uint64 // in some of which all that is promoted happens to be the active
	forSeeds(1, seeds, func(s uint64) {
		o := options(s)
		o.Faults = Quiet()
		w := New(o)
		if err := w.Run(); err != nil {
			t.Error(err)
		}
		epochs.Add(w.head.Epoch)
	})
	if epochs.Load() < 4*seeds {
		t.Errorf("only %d epochs in %d runs", epochs.Load(), seeds)
	}
}

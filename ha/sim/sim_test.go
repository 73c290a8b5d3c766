package sim

import (
	"flag"
	"fmt"
	"runtime"
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

// TestEverythingHappens checks that the runs go where it matters.
func TestEverythingHappens(t *testing.T) {
	var mu sync.Mutex
	missing := map[string]bool{
		"handed over to": true, "taken back: this": true, "is the active, in epoch": true, "not handing over": true,
		"rolled back, everything": true, "cancelled by the operator": true, "the agent was restarted": true,
		"salvage backup salvage": true, "nothing to salvage": true, "still owes a salvage": true,
		"not active: head.json": true, "the name host-": true, "without the bucket:": true, "no acknowledgement": true,
		"acknowledged by": true, "became the active in epoch": true, "look again": true,
		"a newer backup appeared": true, "lease could not be renewed": true, "silent": true,
		"holds the promotion lease": true, "restoring backup": true, "swapping the restored": true,
		"could not be brought to be": true, "cannot be verified": true, "is in force": true,
		"joins it afresh": true, "is rehearsed: restored": true, "the rehearsal of backup": true, "restore is done: ": true, ": rehearsed": true, "snapshot": true, "is copied": true, "the host resumes": true, "the agent goes on": true,
	}
	forSeeds(1, 300, func(s uint64) {
		o := options(s)
		o.Trace = func(format string, args ...any) {
			text := fmt.Sprintf(format, args...)
			mu.Lock()
			defer mu.Unlock()
			for want := range missing {
				if strings.Contains(text, want) {
					delete(missing, want)
				}
			}
		}
		_ = New(o).Run() // what fails is another test's
	})
	for want := range missing {
		t.Errorf("in no run: %q", want)
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

package sim

import (
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha"
)

var (
	seeds = flag.Int("sim.seeds", 150, "how many seeds to run")
	seed  = flag.Uint64("sim.seed", 0, "run this one seed, with a trace")
)

// TestProtocolHoldsUnderFaults runs the core through crashes, partitions, lost
// answers and late writes, and checks every version of the head, every commit,
// every start of an application, and at the end every acknowledged write.
func TestProtocolHoldsUnderFaults(t *testing.T) {
	for _, mode := range []ha.FencingMode{ha.Available, ha.Strict} {
		t.Run(string(mode), func(t *testing.T) {
			if *seed != 0 {
				if err := New(options(*seed, mode, t.Logf)).Run(); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Parallel()
			var wg sync.WaitGroup
			slots := make(chan struct{}, 4)
			for s := range uint64(*seeds) {
				slots <- struct{}{}
				wg.Go(func() {
					defer func() { <-slots }()
					if err := New(options(s+1, mode, nil)).Run(); err != nil {
						t.Errorf("%v\nrun again with: go test ./ha/sim -run 'Faults/%s' -sim.seed %d -v", err, mode, s+1)
					}
				})
			}
			wg.Wait()
		})
	}
}

func options(seed uint64, mode ha.FencingMode, trace func(string, ...any)) Options {
	return Options{Seed: seed, Nodes: 3, Fencing: mode, Faults: true, Duration: 40 * time.Minute, Trace: trace}
}

// TestQuietClusterPromotes checks that without faults every promotion that is
// asked for ends, and the cluster stays at rest.
func TestQuietClusterPromotes(t *testing.T) {
	for s := range uint64(50) {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			t.Parallel()
			w := New(Options{Seed: s + 1, Nodes: 3, Fencing: ha.Available, Duration: 30 * time.Minute})
			if err := w.Run(); err != nil {
				t.Fatal(err)
			}
			if last := w.heads[len(w.heads)-1]; last.Epoch < 3 {
				t.Fatalf("only %d epochs in half an hour of promotions", last.Epoch)
			}
		})
	}
}

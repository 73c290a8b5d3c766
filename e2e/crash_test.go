package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha/runner"
)

// crashDeaths is how many deaths a cluster lives through. Its application writes on all the
// while, and what it has is restored each time.
const crashDeaths = 12

// death is one point at which a process dies.
type death struct {
	scenario scenario
	point    string
}

// TestEveryCrashEndsInOrder kills a process before and after every durable
// step of backup, pull, promotion, handover, demotion and salvage, starts it
// again, and waits for the cluster to be in order on its own.
func TestEveryCrashEndsInOrder(t *testing.T) {
	t.Parallel()
	deaths := everyDeath(t)
	var mu sync.Mutex
	var told []string
	passed := map[string]bool{}
	t.Run("clusters", func(t *testing.T) {
		n := 0
		for some := range slices.Chunk(deaths, crashDeaths) {
			n++
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				tr := newTrial(t, crashBin())
				for _, d := range some {
					report := tr.survive(d)
					mu.Lock()
					told = append(told, report)
					mu.Unlock()
				}
				for id := range tr.listed {
					tr.active.run("verify", id)
				}
				mu.Lock()
				defer mu.Unlock()
				for point := range tr.passed() {
					passed[point] = true
				}
			})
		}
	})
	slices.Sort(told)
	t.Logf("%d deaths of %d:\n%s", len(told), len(deaths), strings.Join(told, "\n"))
	for point := range passed {
		if name := point[:strings.LastIndexByte(point, '.')]; !slices.Contains(runner.StepNames(), name) {
			t.Errorf("the step %s is not in the table of steps", name)
		}
	}
	if !t.Failed() && len(told) != len(deaths) {
		t.Errorf("%d deaths, not %d", len(told), len(deaths))
	}
}

// everyDeath pairs every durable step, before and after, with the scenario
// that leads there.
func everyDeath(t *testing.T) (deaths []death) {
	t.Helper()
	steps := map[string]bool{}
	for _, s := range scenarios {
		for _, step := range s.steps {
			if steps[step] || !slices.Contains(runner.StepNames(), step) {
				t.Fatalf("%s: the step %s has two scenarios, or is none", s.name, step)
			}
			steps[step] = true
			deaths = append(deaths, death{s, step + ".before"}, death{s, step + ".after"})
		}
	}
	for _, step := range runner.StepNames() {
		if !steps[step] {
			t.Errorf("no scenario leads to the step %s", step)
		}
	}
	return deaths
}

// survive has a process die, and the cluster recover.
func (tr *trial) survive(d death) string {
	tr.t.Helper()
	tr.t.Logf("%s: %s", d.scenario.name, d.point)
	begun, epoch := time.Now(), tr.epoch
	d.scenario.run(tr, d.point)
	died := time.Now()
	tr.settle()
	took := time.Since(died)
	tr.check()
	ended := tr.epoch
	switch {
	case ended != epoch && ended != epoch+d.scenario.epochs:
		tr.t.Fatalf("the epoch went from %d to %d", epoch, ended)
	case ended == epoch && d.scenario.epochs > 0:
		tr.promote() // all is as before: it can be done again
	}
	return fmt.Sprintf("%-34s %-36s %v to the death, in order %v later, epoch %d → %d", d.scenario.name, d.point,
		died.Sub(begun).Round(time.Millisecond), took.Round(time.Millisecond), epoch, ended)
}

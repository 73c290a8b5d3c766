package main

import (
	"context"
	"io"
	"maps"
	"strings"
	"testing"
)

// TestFollowedEventsGoOnAfterARestart: nothing is missed, and nothing is shown
// twice.
func TestFollowedEventsGoOnAfterARestart(t *testing.T) {
	h := newTestHosts(t, "a")[0]
	h.run("init")
	h.serve()
	ctx, cancel := context.WithCancel(context.Background())
	out, errout, done := new(output), new(output), make(chan int, 1)
	env := maps.Clone(h.env)
	go func() {
		lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
		done <- run(ctx, []string{"events", "--follow", "--kinds", "agent"}, lookup, stdio{in: strings.NewReader(""), out: out, err: errout})
	}()
	starts := func() int { return strings.Count(out.String(), "the agent has started") }
	h.until("the first start is shown", func() bool { return starts() == 1 })
	h.stop()
	h.until("it says that it waits", func() bool { return strings.Contains(errout.String(), "Waiting for it") })
	h.serve()
	h.until("the second start is shown", func() bool { return starts() >= 2 })
	cancel()
	<-done
	if n := starts(); n != 2 || strings.Count(errout.String(), "Waiting") != 1 {
		t.Errorf("%d starts are shown: %s%s", n, out, errout)
	}
	h.stop()
	errout = new(output)
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	if code := run(t.Context(), []string{"events", "--follow"}, lookup, stdio{in: strings.NewReader(""), out: io.Discard, err: errout}); code == exitDone || !strings.Contains(errout.String(), "is it running") {
		t.Errorf("where no agent runs: %d, %s", code, errout)
	}
}

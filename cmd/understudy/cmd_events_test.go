package main

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// TestFollowedEventsGoOnAfterARestart: nothing is missed, and nothing is shown
// twice.
func TestFollowedEventsGoOnAfterARestart(t *testing.T) {
	h := newTestHosts(t, "a")[0]
	h.run("init")
	h.serve()
	out, errout, end := h.background("events", "--follow", "--kinds", "agent")
	t.Cleanup(func() { end() })
	starts := func() int { return strings.Count(out.String(), "the agent has started") }
	h.until("the first start is shown", func() bool { return starts() == 1 })
	h.stop()
	h.until("it says that it waits", func() bool { return strings.Contains(errout.String(), "Waiting for it") })
	h.serve()
	h.until("the second start is shown", func() bool { return starts() >= 2 })
	end()
	if n := starts(); n != 2 || strings.Count(errout.String(), "Waiting") != 1 {
		t.Errorf("%d starts are shown: %s%s", n, out, errout)
	}
	h.stop()
	h.fails(exit.Failed, "is it running", "events", "--follow")
}

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/cmd/understudy/systemd/systemdtest"
)

// The agent as it is run tells systemd of a host that waits to be set up, and of
// one that serves.
func TestServeTellsSystemd(t *testing.T) {
	fake := systemdtest.New(t, 20*time.Second)
	h := newTestHosts(t, "host-a")[0]
	h.run("init")
	h.serve()
	for _, want := range []string{"READY=1", "WATCHDOG=1", "STATUS=host-a: "} {
		if got := fake.Next(t, time.Minute); !strings.HasPrefix(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	h.stop()
}

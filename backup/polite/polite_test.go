package polite

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// priority is that of the calling thread, as getpriority(2) gives it: 20 is the
// ordinary one, 1 the lowest.
func priority(t *testing.T) int {
	t.Helper()
	p, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPoliteWorkHasTheLowestPriorityAndLeavesNone(t *testing.T) {
	before := priority(t)
	for range 20 {
		if err := Do(Context(t.Context()), func() error {
			if p := priority(t); p != 1 {
				t.Errorf("priority %d", p)
			}
			// What it starts inherits that.
			nice, err := exec.CommandContext(t.Context(), "sh", "-c", "cut -d' ' -f19 /proc/$$/stat").Output()
			if err != nil {
				return err
			}
			if strings.TrimSpace(string(nice)) != "19" {
				t.Errorf("the program runs with nice %s", nice)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if p := priority(t); p != before {
			t.Fatalf("priority %d afterwards, %d before", p, before)
		}
	}
	want := errors.New("no luck")
	if err := Do(t.Context(), func() error { return want }); err != want {
		t.Errorf("got %v", err)
	}
}

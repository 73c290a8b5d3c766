// Package clock reads the clocks of a host.
package clock

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/ha"
)

// Clock reads an instance's clocks. Timers are the Go runtime's: they stand
// still while a host is suspended, so nothing waits long for one before it
// looks at the clock again.
type Clock interface {
	Now() ha.Now
	// Boot names the host's boot, since which the boot-time clock runs; "": it has
	// no name.
	Boot() string
}

// Wait waits, unless ctx ends first.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// System is the host's own clocks: the monotonic one, the boot-time one
// (which goes on while the host is suspended), and the wall clock.
func System() Clock {
	return system{start: time.Now()}
}

type system struct{ start time.Time }

// bootID is random, and made anew by the kernel at every boot.
const bootID = "/proc/sys/kernel/random/boot_id"

// Boot implements Clock.
func (c system) Boot() string {
	id, err := os.ReadFile(bootID)
	if err != nil {
		return "" // with which no renewal is dated
	}
	return strings.TrimSpace(string(id))
}

func (c system) Now() ha.Now {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		panic(fmt.Sprintf("read the boot-time clock: %v", err)) // every Linux since 2.6.39 has it
	}
	now := time.Now()
	return ha.Now{Mono: now.Sub(c.start), Boot: time.Duration(boot.Nano()), Wall: now.UTC()}
}

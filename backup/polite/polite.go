// Package polite has work take only what others leave of processor and disk.
package polite

import (
	"context"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/pack"
)

type politeKey struct{}

// Context makes work under the given context that goes through Gently take only
// what others leave of processor and disk.
func Context(ctx context.Context) context.Context { return context.WithValue(ctx, politeKey{}, true) }

// Is reports whether work under a context is to be polite.
func Is(ctx context.Context) bool { return ctx.Value(politeKey{}) != nil }

// WithReader runs do: under a context of Polite with the lowest priority for
// processor and disk, which the programs that it starts inherit, and with a
// reader that does its work there too.
func WithReader(ctx context.Context, r *pack.Reader, do func(r *pack.Reader) error) error {
	if Is(ctx) && r != nil {
		r = r.Inline()
	}
	return Do(ctx, func() error { return do(r) })
}

// Do runs do, with the lowest priority if ctx is polite.
func Do(ctx context.Context, do func() error) error {
	if !Is(ctx) {
		return do()
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked: priority cannot be had back, so the thread ends with
		// this goroutine.
		runtime.LockOSThread()
		lowerPriority()
		done <- do()
	}()
	return <-done
}

// lowerPriority gives the calling thread the lowest priority. Where that is not
// possible the work is as good at another one.
func lowerPriority() {
	const lowestNice = 19
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, lowestNice)
	// The lowest level of the best-effort class: the idle class might wait for
	// ever on a busy disk.
	const whoProcess, bestEffort, lowest = 1, 2 << 13, 7
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, bestEffort|lowest)
}

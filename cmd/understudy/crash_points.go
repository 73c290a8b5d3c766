//go:build crashpoints

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// UNDERSTUDY_CRASH_DIR names a folder. Where its file "at" names a point
// ("head.commit.after", or "source.swap.before:2" for the second time), the
// process kills itself there, at once and for good; the file is called "died"
// from then on. The file "passed" lists the points that were passed.
func init() {
	if dir := os.Getenv("UNDERSTUDY_CRASH_DIR"); dir != "" {
		step = (&crasher{dir: dir, passed: make(map[string]bool)}).pass
	}
}

type crasher struct {
	dir string

	mu     sync.Mutex
	passed map[string]bool
	at     string // as last read
	times  int    // that this was passed
}

// pass is at a point.
func (c *crasher) pass(point string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.passed[point] {
		c.passed[point] = true
		c.note(point)
	}
	text, err := os.ReadFile(filepath.Join(c.dir, "at"))
	if err != nil {
		c.at = ""
		return // not to die
	}
	if at := string(text); at != c.at {
		c.at, c.times = at, 0
	}
	name, nth := c.at, 1
	if i := strings.IndexByte(c.at, ':'); i >= 0 {
		name = c.at[:i]
		if _, err := fmt.Sscan(c.at[i+1:], &nth); err != nil {
			panic(err)
		}
	}
	if name != point {
		return
	}
	if c.times++; c.times == nth {
		c.die()
	}
}

func (c *crasher) note(point string) {
	f, err := os.OpenFile(filepath.Join(c.dir, "passed"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, point); err != nil {
		panic(err)
	}
}

func (c *crasher) die() {
	if err := os.Rename(filepath.Join(c.dir, "at"), filepath.Join(c.dir, "died")); err != nil {
		panic(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {} // until the signal has come
}

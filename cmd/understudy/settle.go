package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// settleAfter is how long an agent has been up when its start counts as over.
const settleAfter = 30 * time.Second

// settle gives memory back that the start alone needed, once it is over: what the heap
// holds unused, and pages of the program. The start of each package touches those
// around it, which are most of an idle agent's memory, and few of them are needed
// again. A page that is comes back from the file.
func settle(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(settleAfter):
	}
	debug.FreeOSMemory()
	_ = releaseProgram() // whoever cannot give pages back keeps them
	return nil
}

// releaseProgram gives back the pages of the program's file that nothing has written to.
func releaseProgram() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	return releaseFile(program)
}

// releaseFile gives back the pages of a file that are mapped to be read alone, and that
// nothing has written to. A program that is loaded at any address (-buildmode=pie) has
// others: the loader writes addresses to them and protects them afterwards. They would
// come back as they are in the file, without the addresses, and the program would die.
func releaseFile(file string) error {
	table, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("find the program's memory: %w", err)
	}
	var failed error
	var from, to uintptr // zero: not to be given back
	for line := range strings.Lines(string(table)) {
		if begin, end, ok := mapping(line, file); ok {
			from, to = begin, end
			continue
		}
		var written int // kB that are no longer the file's
		if _, err := fmt.Sscanf(line, "Anonymous: %d kB", &written); err != nil || written > 0 || to == 0 {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			failed = errors.Join(failed, fmt.Errorf("give back pages of the program: %w", errno))
		}
	}
	return failed
}

// mapping reads a line of the kernel's table of a process's memory, if it is one that
// begins what is said of a mapping: where that is, or zeros if it is not of the file, not
// private, or to be written to.
func mapping(line, file string) (from, to uintptr, ok bool) {
	var access, offset, device, inode string
	if _, err := fmt.Sscanf(line, "%x-%x %s %s %s %s", &from, &to, &access, &offset, &device, &inode); err != nil {
		return 0, 0, false
	}
	ours := strings.HasSuffix(strings.TrimSuffix(line, "\n"), " "+file)
	if !ours || !strings.HasPrefix(access, "r-") || !strings.HasSuffix(access, "p") {
		return 0, 0, true
	}
	return from, to, true
}

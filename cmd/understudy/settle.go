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
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("find the program's memory: %w", err)
	}
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	for line := range strings.Lines(string(maps)) {
		if from, to, ok := readOnly(line, program); ok {
			if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
				err = errors.Join(err, fmt.Errorf("give back pages of the program: %w", errno))
			}
		}
	}
	return err
}

// readOnly reads a line of the kernel's table of a process's memory: where it is, if it
// is of that file, private, and not to be written to.
func readOnly(line, file string) (from, to uintptr, ok bool) {
	var access, offset, device, inode string
	if _, err := fmt.Sscanf(line, "%x-%x %s %s %s %s", &from, &to, &access, &offset, &device, &inode); err != nil {
		return 0, 0, false
	}
	ours := strings.HasSuffix(strings.TrimSuffix(line, "\n"), " "+file)
	return from, to, ours && strings.HasPrefix(access, "r") && access[1] == '-' && strings.HasSuffix(access, "p")
}

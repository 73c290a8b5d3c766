package supervisor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// process is one line of the process table.
type process struct{ pid, parent, group int }

// descendants lists the children of a process, theirs, and so on.
func descendants(of int) []process {
	children := make(map[int][]process)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil // the process group is all that can be reached
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := readProcess(pid); ok {
				children[p.parent] = append(children[p.parent], p)
			}
		}
	}
	var found []process
	for next := []int{of}; len(next) > 0; next = next[1:] {
		for _, p := range children[next[0]] {
			found = append(found, p)
			next = append(next, p.pid)
		}
	}
	return found
}

// readProcess reads /proc/PID/stat, where parent and group come after the
// state, and that after the command's name, which may hold anything.
func readProcess(pid int) (process, bool) {
	p := process{pid: pid}
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return p, false // it has ended
	}
	var state string
	_, err = fmt.Sscan(string(text[bytes.LastIndexByte(text, ')')+1:]), &state, &p.parent, &p.group)
	return p, err == nil
}

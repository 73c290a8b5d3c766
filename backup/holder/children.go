package holder

import (
	"os"
	"strconv"
	"strings"
)

// Children reports of a process whether this one has started it, itself or by way
// of others that still run.
func Children() func(pid int) bool {
	self := os.Getpid()
	return func(pid int) bool {
		for range 64 { // deeper than any chain of ours
			if pid == self {
				return true
			}
			if pid <= 1 {
				return false
			}
			pid = parent(pid)
		}
		return false
	}
}

// parent is the id of a process's parent; 0 for none.
func parent(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// A command may have spaces and brackets in its name.
	_, rest, _ := strings.Cut(string(stat)[max(0, strings.LastIndexByte(string(stat), ')')):], ")")
	f := strings.Fields(rest)
	if len(f) < 2 {
		return 0
	}
	id, err := strconv.Atoi(f[1])
	if err != nil {
		return 0
	}
	return id
}

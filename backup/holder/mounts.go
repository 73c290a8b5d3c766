package holder

import (
	"fmt"
	"os"
	"os/user"
	"strings"
	"sync"

	"github.com/moby/sys/mountinfo"
)

// spot is where something lies: a file system, and the path in it.
type spot struct{ fs, path string }

// within reports whether s is at t, or below.
func (s spot) within(t spot) bool {
	if s.fs != t.fs {
		return false
	}
	rest, ok := strings.CutPrefix(s.path, t.path)
	return ok && (rest == "" || rest[0] == '/' || t.path == "/")
}

// mountTable are the mounts that a process sees.
type mountTable struct{ mounts []mount }

type mount struct {
	at   string // where
	spot        // what
}

// spot tells where a path leads, by the mount that covers it.
func (t *mountTable) spot(path string) spot {
	best, length := spot{"", path}, -1
	for _, m := range t.mounts {
		rest, ok := strings.CutPrefix(path, m.at)
		if m.at == "/" {
			rest, ok = strings.TrimSuffix(path, "/"), true
		}
		// Of two mounts at one path the later one counts.
		if ok && (rest == "" || rest[0] == '/') && len(m.at) >= length {
			best, length = spot{m.fs, strings.TrimSuffix(m.path, "/") + rest}, len(m.at)
		}
	}
	if best.path == "" {
		best.path = "/"
	}
	return best
}

// tables keep one table a mount namespace and root. It is safe for concurrent
// use.
type tables struct {
	mu  sync.Mutex
	all map[string]*mountTable
}

func newTables() *tables { return &tables{all: map[string]*mountTable{}} }

func (t *tables) of(pid, namespace string) *mountTable {
	t.mu.Lock()
	defer t.mu.Unlock()
	table := t.all[namespace]
	if table == nil {
		table = readMounts("/proc/" + pid + "/mountinfo")
		t.all[namespace] = table
	}
	return table
}

// readMounts reads a table of mounts; one that cannot be read is empty, so that
// paths count as they are.
func readMounts(path string) *mountTable {
	f, err := os.Open(path)
	if err != nil {
		return &mountTable{}
	}
	defer f.Close()
	mounts, err := mountinfo.GetMountsFromReader(f, nil)
	if err != nil {
		return &mountTable{}
	}
	t := new(mountTable)
	for _, m := range mounts {
		t.mounts = append(t.mounts, mount{at: m.Mountpoint, spot: spot{fmt.Sprintf("%d:%d", m.Major, m.Minor), m.Root}})
	}
	return t
}

// owner names the user of a process.
func owner(dir string) string {
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return "nobody any more"
	}
	for line := range strings.Lines(string(status)) {
		ids, ok := strings.CutPrefix(line, "Uid:")
		if !ok {
			continue
		}
		f := strings.Fields(ids)
		if len(f) < 2 {
			break
		}
		if u, err := user.LookupId(f[1]); err == nil {
			return u.Username
		}
		return "user " + f[1]
	}
	return "an unknown user"
}

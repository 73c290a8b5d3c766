// Package holder finds the processes that have files or folders open: by a
// descriptor, a mapping, their working or root directory, or their program.
//
// A file is told by where it lies in its file system, not by its path: a process
// in a container, or one that came by another mount, has another path to it. What
// this process may not look at is counted, never taken for nobody.
package holder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Place is a file, or a folder with all that is in it.
type Place struct {
	Path   string   // absolute, and without symbolic links
	Except []string // what in it does not count
}

// Holder is a process that has something in a place open.
type Holder struct {
	PID     int
	Command string
	User    string // name, or else number
	Path    string // as the process has it
	How     string // "open for writing", "working directory", …
	Writes  bool   // it may write
}

func (h Holder) String() string {
	return fmt.Sprintf("process %d (%s, of %s) has %s %s", h.PID, h.Command, h.User, h.Path, h.How)
}

// maxNames is how many are named.
const maxNames = 3

// Names names holders in one line, the first few of them.
func Names(all []Holder) string {
	var names []string
	for _, h := range all[:min(len(all), maxNames)] {
		names = append(names, h.String())
	}
	if n := len(all) - maxNames; n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	return strings.Join(names, ", ")
}

// Found is what a look has found.
type Found struct {
	Holders []Holder // one a process, writers first
	// Blind says what could not be looked at, for people; "" when all was.
	Blind string
}

// Find looks who has one of the places open. This process is left out, and each
// that skip, which may be nil, reports.
func Find(ctx context.Context, places []Place, skip func(pid int) bool) (Found, error) {
	l := newLook(places)
	if len(l.places) == 0 {
		return Found{}, ctx.Err()
	}
	pids, err := processes()
	if err != nil {
		return Found{}, err
	}
	found := make([]*Holder, len(pids))
	hidden := make([]bool, len(pids))
	group, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	for first := range workers {
		group.Go(func() error {
			for i := first; i < len(pids); i += workers {
				if err := ctx.Err(); err != nil {
					return err
				}
				if pid := pids[i]; pid != os.Getpid() && (skip == nil || !skip(pid)) {
					found[i], hidden[i] = l.process(pid)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Found{}, err
	}
	var f Found
	count := 0
	for i := range pids {
		if found[i] != nil {
			f.Holders = append(f.Holders, *found[i])
		}
		if hidden[i] {
			count++
		}
	}
	slices.SortStableFunc(f.Holders, func(a, b Holder) int {
		switch {
		case a.Writes == b.Writes:
			return 0
		case a.Writes:
			return -1
		}
		return 1
	})
	f.Blind = blindness(count)
	return f, nil
}

func processes() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("look for processes: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// initialPIDs is the inode of the namespace that has all of a host's processes.
const initialPIDs = "pid:[4026531836]"

// blindness says what a look does not see.
func blindness(hidden int) string {
	var parts []string
	switch {
	case hidden > 0 && os.Geteuid() == 0:
		parts = append(parts, fmt.Sprintf("processes that even root may not look at here: %d", hidden))
	case hidden > 0:
		parts = append(parts, fmt.Sprintf("%d processes of other users could not be looked at: run the agent as root, or with CAP_SYS_PTRACE", hidden))
	}
	if ns, err := os.Readlink("/proc/self/ns/pid"); err != nil || ns != initialPIDs {
		parts = append(parts, "processes outside of this agent's container cannot be seen: share the host's PID namespace with it (pid: host)")
	} else if hidesOthers() {
		parts = append(parts, "/proc is mounted with hidepid, which hides the processes of other users: run the agent as root")
	}
	return strings.Join(parts, "; ")
}

// hidesOthers reports whether other users' processes are not even listed.
func hidesOthers() bool {
	if os.Geteuid() == 0 {
		return false
	}
	var st unix.Stat_t
	return unix.Stat("/proc/1", &st) != nil
}

// look is one look at all processes.
type look struct {
	places []target
	own    string // this process's mount namespace
	tables *tables
}

// target is a place as it lies in its file system.
type target struct {
	spot
	except []spot
	dev    uint64 // with ino, of what is at the path now; 0 for nothing
	ino    uint64
}

func newLook(places []Place) *look {
	l := &look{tables: newTables()}
	l.own, _ = os.Readlink("/proc/self/ns/mnt")
	mounts := l.tables.of("self", l.own)
	for _, p := range places {
		t := target{spot: mounts.spot(p.Path)}
		for _, e := range p.Except {
			t.except = append(t.except, mounts.spot(e))
		}
		var st unix.Stat_t
		if unix.Stat(p.Path, &st) == nil {
			t.dev, t.ino = st.Dev, st.Ino
		}
		l.places = append(l.places, t)
	}
	return l
}

// holds reports whether a path of a process with these mounts is in a place.
func (l *look) holds(mounts *mountTable, path string) bool {
	path, ok := strings.CutPrefix(path, "/")
	if !ok {
		return false // a socket, a pipe
	}
	s := mounts.spot("/" + strings.TrimSuffix(path, " (deleted)"))
	return slices.ContainsFunc(l.places, func(t target) bool {
		return s.within(t.spot) && !slices.ContainsFunc(t.except, s.within)
	})
}

// process looks at one process. hidden reports that it may not be looked at.
func (l *look) process(pid int) (_ *Holder, hidden bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	ns, err := os.Readlink(dir + "/ns/mnt")
	if err != nil {
		return nil, isForbidden(err) && hasProgram(dir)
	}
	p := &process{l: l, dir: dir, mounts: l.tables.of(strconv.Itoa(pid), ns), seen: map[string]bool{}}
	if err := p.descriptors(); err != nil {
		return nil, isForbidden(err)
	}
	p.mappings()
	p.links()
	if p.best == nil {
		return nil, false
	}
	h := p.best
	h.PID, h.Command, h.User = pid, command(dir), owner(dir)
	return h, false
}

func isForbidden(err error) bool { return os.IsPermission(err) }

// hasProgram reports whether it is a process of its own, not one of the kernel's,
// nor one that has ended.
func hasProgram(dir string) bool {
	line, err := os.ReadFile(dir + "/cmdline")
	return err == nil && len(line) > 0
}

func command(dir string) string {
	name, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return "ended"
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(name)), "?")
}

// process is the look at one of them.
type process struct {
	l      *look
	dir    string
	mounts *mountTable
	seen   map[string]bool // whether a path counts
	best   *Holder
}

func (p *process) counts(path string) bool {
	counts, known := p.seen[path]
	if !known {
		counts = p.l.holds(p.mounts, path)
		p.seen[path] = counts
	}
	return counts
}

// note keeps what says most.
func (p *process) note(path, how string, writes bool) {
	if p.best == nil || writes && !p.best.Writes {
		p.best = &Holder{Path: path, How: how, Writes: writes}
	}
}

func (p *process) descriptors() error {
	fds, err := os.Open(p.dir + "/fd")
	if err != nil {
		return err
	}
	defer fds.Close()
	names, err := fds.Readdirnames(-1)
	if err != nil && len(names) == 0 {
		return err
	}
	for _, name := range names {
		link := p.dir + "/fd/" + name
		path, err := os.Readlink(link)
		if err != nil || !filepath.IsAbs(path) {
			continue
		}
		if !p.counts(path) && !p.sameFile(link) {
			continue
		}
		if p.writable(name) {
			p.note(path, "open for writing", true)
			return nil
		}
		p.note(path, "open for reading", false)
	}
	return nil
}

// sameFile reports whether a descriptor is of the very file of a place, by
// whatever name it was opened.
func (p *process) sameFile(link string) bool {
	var st unix.Stat_t
	return unix.Stat(link, &st) == nil && slices.ContainsFunc(p.l.places, func(t target) bool {
		return t.ino != 0 && st.Ino == t.ino && st.Dev == t.dev
	})
}

func (p *process) writable(fd string) bool {
	info, err := os.ReadFile(p.dir + "/fdinfo/" + fd)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(info)) {
		if octal, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(octal), 8, 64)
			return err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return false
}

// mappings looks at what is mapped into the process's memory.
func (p *process) mappings() {
	if p.best != nil && p.best.Writes {
		return
	}
	maps, err := os.ReadFile(p.dir + "/maps")
	if err != nil {
		return // the descriptors could be read: it has ended
	}
	for line := range strings.Lines(string(maps)) {
		at := strings.IndexByte(line, '/')
		if at < 0 {
			continue
		}
		path := strings.TrimSuffix(line[at:], "\n")
		if !p.counts(path) {
			continue
		}
		fields := strings.Fields(line[:at])
		shared := len(fields) > 1 && strings.HasPrefix(fields[1][1:], "w") && strings.HasSuffix(fields[1], "s")
		if shared {
			p.note(path, "mapped for writing", true)
		} else {
			p.note(path, "mapped", false)
		}
	}
}

func (p *process) links() {
	for _, l := range []struct{ name, how string }{
		{"cwd", "as its working directory"}, {"root", "as its root directory"}, {"exe", "as its program"},
	} {
		if path, err := os.Readlink(p.dir + "/" + l.name); err == nil && p.counts(path) {
			p.note(path, l.how, false)
		}
	}
}

package directory

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/internal/inodeflag"
	"github.com/understudy-ha/understudy/backup/source/internal/opendir"
	"github.com/understudy-ha/understudy/backup/source/internal/opened"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// directoryFlags is what a backup of a directory knows of them. A file that has not
// changed since then has the same ones: to set a flag changes the ctime.
type directoryFlags struct {
	Files map[string]uint32 `json:"files,omitempty"` // by path: the first of them
	More  int64             `json:"more,omitempty"`  // files that are not among these
}

// flagTally is what one dump finds out about them.
type flagTally struct {
	before *directoryFlags // of the previous dump; nil: it did not look
	mute   sync.Map        // devices that have no such thing
	now    directoryFlags
	total  int64
	counts map[string]*flagCount
}

// flagsBefore is what the previous dump knows.
func flagsBefore(prev *source.Entry) *directoryFlags {
	var facts Facts
	if prev == nil || json.Unmarshal(prev.Facts, &facts) != nil {
		return nil
	}
	return facts.Flags
}

type flagCount struct {
	n     int64
	first []string
}

// of returns the flags of an open file or folder.
func (t *flagTally) of(fd int, dev uint64) uint32 {
	if _, mute := t.mute.Load(dev); mute {
		return 0
	}
	flags, err := inodeflag.Of(fd)
	if err != nil {
		t.mute.Store(dev, true) // to ask may be a request to a server
		return 0
	}
	return flags
}

// kept returns those of a file that has not changed since the previous dump.
func (t *flagTally) kept(it *dumpItem, in *opendir.Dir) uint32 {
	if t.before == nil || t.before.More > 0 {
		return t.asked(it, in)
	}
	return t.before.Files[it.node.Path]
}

// asked opens a file to ask for its flags. One that cannot be opened is told of by
// whoever reads it.
func (t *flagTally) asked(it *dumpItem, in *opendir.Dir) uint32 {
	if _, mute := t.mute.Load(it.id.Dev); mute {
		return 0
	}
	fd, err := opendir.RetryOpen(in.FD, it.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	defer opened.Here.Close(it.id, os.NewFile(uintptr(fd), it.node.Path))
	return t.of(fd, it.id.Dev)
}

// add takes in the flags of an entry that is in the tree.
func (t *flagTally) add(n *tree.Node, flags uint32) {
	if flags == 0 {
		return
	}
	t.total++
	if n.Type == tree.RegularFile {
		t.remember(n.Path, flags)
	}
	if t.counts == nil {
		t.counts = map[string]*flagCount{}
	}
	for _, f := range inodeflag.All {
		if flags&f.Bit == 0 {
			continue
		}
		c := t.counts[f.Name]
		if c == nil {
			c = &flagCount{}
			t.counts[f.Name] = c
		}
		if c.n++; len(c.first) < 3 {
			c.first = append(c.first, n.Path)
		}
	}
}

// remember notes a file for the next dump.
func (t *flagTally) remember(path string, flags uint32) {
	if len(t.now.Files) >= source.MaxWarnings {
		t.now.More++
		return
	}
	if t.now.Files == nil {
		t.now.Files = map[string]uint32{}
	}
	t.now.Files[path] = flags
}

// warning says what the backup does not keep; "" for nothing.
func (t *flagTally) warning(root string) string {
	if t.total == 0 {
		return ""
	}
	var parts []string
	for _, f := range inodeflag.All {
		c := t.counts[f.Name]
		if c == nil {
			continue
		}
		names := make([]string, len(c.first))
		for i, path := range c.first {
			names[i] = fmt.Sprintf("%q", path)
			if path == "." {
				names[i] = filepath.Base(root) + " itself"
			}
		}
		if c.n > int64(len(names)) {
			names = append(names, "…")
		}
		parts = append(parts, fmt.Sprintf("%d %s (%s)", c.n, f.Name, strings.Join(names, ", ")))
	}
	what := fmt.Sprintf("%d entries have", t.total)
	if t.total == 1 {
		what = "an entry has"
	}
	return what + " inode flags (chattr), which no backup keeps: " + strings.Join(parts, "; ")
}

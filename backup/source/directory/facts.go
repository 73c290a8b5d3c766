package directory

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/understudy-ha/understudy/backup/source/internal/meta"
	"github.com/understudy-ha/understudy/backup/source/internal/tree"
)

// Facts is what a directory's Entry tells in Facts.
type Facts struct {
	Path      string `json:"path"`
	RootMode  string `json:"root_mode"` // octal
	Files     int64  `json:"files"`     // regular files; further names are HardLinks
	Folders   int64  `json:"folders"`   // the directory itself included
	Symlinks  int64  `json:"symlinks"`
	HardLinks int64  `json:"hard_links"`
	Specials  int64  `json:"special_files"` // fifos and devices
	Skipped   int64  `json:"sockets_skipped"`
	Unstable  int64  `json:"changed_while_read"`
	Bytes     int64  `json:"bytes"`      // of the files' contents
	DiskBytes int64  `json:"disk_bytes"` // that a restore takes, about
	// Mounts is how many files lie on other file systems, which are mounted
	// within, by their paths below Path.
	Mounts map[string]int64 `json:"mounts,omitempty"`
	// Parents are the folders above Path, the nearest one first.
	Parents []meta.Parent `json:"parents,omitempty"`
	// Started is when the reading began. A file that changed then or later may
	// differ from what was read, though its times and size do not tell.
	Started time.Time `json:"started"`
	// Databases counts those that were taken as such, under the Policy.
	Databases int64  `json:"databases,omitempty"`
	Policy    string `json:"databases_policy,omitempty"`
	// Tables is nil where databases are plain files.
	Tables *directoryTables `json:"tables,omitempty"`
	// Flags is nil in a backup of a version that did not look at them.
	Flags *directoryFlags `json:"flags,omitempty"`
}

// add counts a node.
func (f *Facts) add(n *tree.Node) {
	const block, inode = 4096, 512
	switch n.Type {
	case tree.RegularFile:
		f.Files++
		f.Bytes += n.Size
		f.DiskBytes += inode
		if n.Sparse > 0 {
			f.DiskBytes += n.Sparse
		} else {
			f.DiskBytes += (n.Size + block - 1) / block * block
		}
	case tree.Directory:
		f.Folders++
		f.DiskBytes += inode + block
	case tree.Symlink:
		f.Symlinks++
		f.DiskBytes += inode
	case tree.HardLink:
		f.HardLinks++
	case tree.Fifo, tree.CharDevice, tree.BlockDevice:
		f.Specials++
		f.DiskBytes += inode
	}
}

// names is how many names lead to what is not a folder.
func (f *Facts) names() int64 { return f.Files + f.HardLinks + f.Symlinks + f.Specials }

// Lost implements source.Measured.
func (f *Facts) Lost(was *Facts) string {
	var found []string
	if was.names() >= manyFiles && 2*f.names() < was.names() {
		found = append(found, fmt.Sprintf("had %s files (%s), has %s (%s)",
			humanize.Comma(was.names()), humanize.IBytes(uint64(was.Bytes)), humanize.Comma(f.names()), humanize.IBytes(uint64(f.Bytes))))
	}
	if text := f.Tables.lost(was.Tables); text != "" && f.Policy == was.Policy {
		found = append(found, text)
	}
	return strings.Join(found, "; ")
}

// manyFiles is how many files a directory had when it counts that more than half
// of them are gone. A smaller one comes and goes.
const manyFiles = 100

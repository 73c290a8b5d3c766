// Package tree is the format in which a directory's dump lists what is in it: one node
// an entry, depth first, by the bytes of the names.
package tree

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source/internal/chunks"
)

// NodeType says what a node of a tree is. Its values are part of the format.
type NodeType byte

// Node types.
const (
	RegularFile NodeType = 'f'
	Directory   NodeType = 'd'
	Symlink     NodeType = 'l'
	HardLink    NodeType = 'h' // a further name of what came earlier in the tree, and is no folder
	Fifo        NodeType = 'p'
	CharDevice  NodeType = 'c'
	BlockDevice NodeType = 'b'
)

// Node is one entry of a directory's tree.
type Node struct {
	Path string // relative, with slashes, any bytes but NUL; "." is the directory itself
	Type NodeType

	// These are those of the first name in case of a hard link, and zero here.
	Mode    uint32 // permissions with set-uid, set-gid and sticky bits: at most 0o7777
	UID     uint32
	GID     uint32
	User    string // name of UID on the dumping host; empty when it has none
	Group   string // name of GID, likewise
	ModTime time.Time
	Xattrs  []Xattr // by name

	Target string // of a symlink, or a hard link's first path
	Device uint64 // of a device, as makedev(3) has it

	Size    int64       // of a regular file
	Content pack.Stream // of a regular file, without its holes
	// Sparse is the number of bytes that a file with holes takes on disk; 0
	// for a file without holes, whose Data then is nil.
	Sparse int64
	Data   []Extent // what is between the holes, in order
	// Inode and Changed (ctime) tell whether a regular file is still the one
	// that was read. Changed is zero when it changed all the while.
	Inode   uint64
	Changed time.Time
}

// Special tells whether the node is neither a file nor a folder.
func (n *Node) Special() bool {
	return n.Type == Symlink || n.Type == Fifo || n.Type == CharDevice || n.Type == BlockDevice
}

// Extent is a part of a file.
type Extent struct{ Offset, Length int64 }

// Xattr is one extended attribute. ACLs and file capabilities are such.
type Xattr struct {
	Name  string
	Value []byte
}

// Depth is how many components the path has; 0 for the directory itself.
func (n *Node) Depth() int {
	if n.Path == "." {
		return 0
	}
	return strings.Count(n.Path, "/") + 1
}

// ComparePaths orders paths as a depth-first walk meets them which visits
// each folder's names in the order of their bytes: by component.
func ComparePaths(a, b string) int {
	if a == "." || b == "." {
		switch {
		case a == b:
			return 0
		case a == ".":
			return -1
		default:
			return 1
		}
	}
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] == b[i] {
			continue
		}
		// A name's end sorts before everything that may continue it.
		if a[i] == '/' {
			return -1
		}
		if b[i] == '/' {
			return 1
		}
		return int(a[i]) - int(b[i])
	}
	return len(a) - len(b)
}

// Of yields the nodes of a dumped directory in canonical order: depth first,
// each folder before what is in it, by the bytes of the names. Two trees can
// be compared in one pass, in memory that does not grow with their size. It
// ends after the first error.
func Of(ctx context.Context, r chunks.Reader, root pack.Stream) iter.Seq2[*Node, error] {
	return func(yield func(*Node, error) bool) {
		Read(r.Open(ctx, root))(yield)
	}
}

package tree

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"time"
)

// Magic is what a tree stream begins with. Then there is one record per node in canonical order,
// then the end of the stream. It depends on nothing but the tree, so that an
// unchanged tree gives the same bytes. A record is the length of what follows
// as a uvarint, then (numbers are uvarints, strings and bytes have their
// length before them, a time is zigzag seconds and nanoseconds):
//
//	type, depth, name                               every node
//	mode, uid, gid, user, group, mtime              all but hard links
//	count, then name and value of each              xattrs; all but hard links
//	size, sparse, data, inode, ctime, depth, count, ids   regular files; ids are 32 bytes each
//	target                                          symlinks and hard links
//	device                                          devices
//
// Data is there where sparse is not 0: the number of extents, then for each one
// how far it begins after the end of the one before, and its length.
//
// Depth and base name stand in for the path, so that a record does not depend
// on its siblings. The format is written by hand because a million records
// have to be written and read in about a second, which no general encoder with
// reflection does.
const Magic = "understudy tree 2\n"

// Encoder writes a tree stream.
type Encoder struct {
	w    *bufio.Writer
	buf  []byte
	size [binary.MaxVarintLen64]byte
}

// NewEncoder writes a tree to w.
func NewEncoder(w io.Writer) (*Encoder, error) {
	e := &Encoder{w: bufio.NewWriterSize(w, 128<<10)}
	_, err := e.w.WriteString(Magic)
	return e, err
}

// Write adds a node. The caller keeps to the canonical order.
func (e *Encoder) Write(n *Node) error {
	b, err := AppendNode(e.buf[:0], n)
	if err != nil {
		return err
	}
	e.buf = b
	if _, err := e.w.Write(binary.AppendUvarint(e.size[:0], uint64(len(b)))); err != nil {
		return err
	}
	_, err = e.w.Write(b)
	return err
}

// Flush writes what is buffered.
func (e *Encoder) Flush() error { return e.w.Flush() }

// AppendNode appends what a record tells of a node, but for its path.
func AppendNode(b []byte, n *Node) ([]byte, error) {
	b = append(b, byte(n.Type))
	b = binary.AppendUvarint(b, uint64(n.Depth()))
	b = AppendString(b, path.Base(n.Path))
	if n.Type == HardLink {
		return AppendString(b, n.Target), nil
	}
	b = binary.AppendUvarint(b, uint64(n.Mode))
	b = binary.AppendUvarint(b, uint64(n.UID))
	b = binary.AppendUvarint(b, uint64(n.GID))
	b = AppendString(b, n.User)
	b = AppendString(b, n.Group)
	b = appendTime(b, n.ModTime)
	b = binary.AppendUvarint(b, uint64(len(n.Xattrs)))
	for _, x := range n.Xattrs {
		b = AppendString(b, x.Name)
		b = AppendString(b, string(x.Value))
	}
	switch n.Type {
	case RegularFile:
		b = appendContent(b, n)
	case Symlink:
		b = AppendString(b, n.Target)
	case CharDevice, BlockDevice:
		b = binary.AppendUvarint(b, n.Device)
	case Directory, Fifo:
	default:
		return nil, fmt.Errorf("write %q into the tree: unknown type %q", n.Path, n.Type)
	}
	return b, nil
}

func appendContent(b []byte, n *Node) []byte {
	b = binary.AppendUvarint(b, uint64(n.Size))
	b = binary.AppendUvarint(b, uint64(n.Sparse))
	if n.Sparse > 0 {
		b = binary.AppendUvarint(b, uint64(len(n.Data)))
		end := int64(0)
		for _, x := range n.Data {
			b = binary.AppendUvarint(b, uint64(x.Offset-end))
			b = binary.AppendUvarint(b, uint64(x.Length))
			end = x.Offset + x.Length
		}
	}
	b = binary.AppendUvarint(b, n.Inode)
	b = appendTime(b, n.Changed)
	b = binary.AppendUvarint(b, uint64(n.Content.Depth))
	b = binary.AppendUvarint(b, uint64(len(n.Content.Chunks)))
	for i := range n.Content.Chunks {
		b = append(b, n.Content.Chunks[i][:]...)
	}
	return b
}

// AppendString appends a string with its length.
func AppendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendTime(b []byte, t time.Time) []byte {
	b = binary.AppendVarint(b, t.Unix())
	return binary.AppendUvarint(b, uint64(t.Nanosecond()))
}

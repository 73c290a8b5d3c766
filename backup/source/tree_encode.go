package source

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"time"
)

// A tree stream is treeMagic, then one record per node in canonical order,
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
const treeMagic = "understudy tree 2\n"

// treeEncoder writes a tree stream.
type treeEncoder struct {
	w    *bufio.Writer
	buf  []byte
	size [binary.MaxVarintLen64]byte
}

func newTreeEncoder(w io.Writer) (*treeEncoder, error) {
	e := &treeEncoder{w: bufio.NewWriterSize(w, 128<<10)}
	_, err := e.w.WriteString(treeMagic)
	return e, err
}

// write adds a node. The caller keeps to the canonical order.
func (e *treeEncoder) write(n *Node) error {
	b, err := appendNode(e.buf[:0], n)
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

func (e *treeEncoder) flush() error { return e.w.Flush() }

func appendNode(b []byte, n *Node) ([]byte, error) {
	b = append(b, byte(n.Type))
	b = binary.AppendUvarint(b, uint64(n.depth()))
	b = appendString(b, path.Base(n.Path))
	if n.Type == HardLink {
		return appendString(b, n.Target), nil
	}
	b = binary.AppendUvarint(b, uint64(n.Mode))
	b = binary.AppendUvarint(b, uint64(n.UID))
	b = binary.AppendUvarint(b, uint64(n.GID))
	b = appendString(b, n.User)
	b = appendString(b, n.Group)
	b = appendTime(b, n.ModTime)
	b = binary.AppendUvarint(b, uint64(len(n.Xattrs)))
	for _, x := range n.Xattrs {
		b = appendString(b, x.Name)
		b = appendString(b, string(x.Value))
	}
	switch n.Type {
	case RegularFile:
		b = appendContent(b, n)
	case Symlink:
		b = appendString(b, n.Target)
	case CharDevice, BlockDevice:
		b = binary.AppendUvarint(b, n.Device)
	case Folder, Fifo:
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

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendTime(b []byte, t time.Time) []byte {
	b = binary.AppendVarint(b, t.Unix())
	return binary.AppendUvarint(b, uint64(t.Nanosecond()))
}

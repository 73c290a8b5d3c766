package tree

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
)

// ErrMalformed says that a tree stream breaks its format. Its chunks were
// authenticated, so this is a fault of the program that wrote it.
var ErrMalformed = errors.New("malformed tree")

// Decoder reads a tree stream and holds it to the format: names are single
// names, parents come first and are folders, the order is canonical. Whoever
// restores it may rely on that.
type Decoder struct {
	r       *bufio.Reader
	record  bytes.Buffer
	started bool
	parents []string          // the paths of the folders that the next node may be in
	last    string            // the previous node's path
	names   map[string]string // one copy of each user, group and attribute name
}

// NewDecoder reads a tree from r.
func NewDecoder(r io.Reader) *Decoder {
	return &Decoder{r: bufio.NewReaderSize(r, 128<<10), names: map[string]string{}}
}

// Next gives the next node, or io.EOF after the last one.
func (d *Decoder) Next() (*Node, error) {
	if !d.started {
		magic := make([]byte, len(Magic))
		if _, err := io.ReadFull(d.r, magic); err != nil {
			return nil, fmt.Errorf("read the tree: %w", noEOF(err))
		}
		if string(magic) != Magic {
			return nil, fmt.Errorf("read the tree: %w: it begins with %q", ErrMalformed, magic)
		}
		d.started = true
	}
	size, err := binary.ReadUvarint(d.r)
	if err == io.EOF {
		if d.last == "" {
			return nil, fmt.Errorf("read the tree: %w: it is empty", ErrMalformed)
		}
		return nil, io.EOF
	}
	if err == nil && size > math.MaxInt32 {
		err = fmt.Errorf("%w: a record of %d bytes", ErrMalformed, size)
	}
	if err == nil {
		d.record.Reset()
		_, err = io.CopyN(&d.record, d.r, int64(size))
	}
	if err != nil {
		return nil, fmt.Errorf("read the tree after %q: %w", d.last, noEOF(err))
	}
	n, err := d.node(&fields{b: d.record.Bytes()})
	if err != nil {
		return nil, fmt.Errorf("read the tree after %q: %w", d.last, err)
	}
	return n, nil
}

// noEOF makes an end where none may be an error of its own.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (d *Decoder) node(f *fields) (*Node, error) {
	n := &Node{Type: NodeType(f.byte())}
	depth := f.number()
	if err := d.place(n, depth, string(f.bytes())); err != nil {
		return nil, err
	}
	if n.Type == HardLink {
		n.Target = string(f.bytes())
		return n, f.end()
	}
	n.Mode = f.mode()
	n.UID, n.GID = f.id(), f.id()
	n.User = d.name(f.bytes())
	n.Group = d.name(f.bytes())
	n.ModTime = f.time()
	for range f.count(2) {
		n.Xattrs = append(n.Xattrs, Xattr{Name: d.name(f.bytes()), Value: bytes.Clone(f.bytes())})
	}
	switch n.Type {
	case RegularFile:
		f.content(n)
	case Symlink:
		n.Target = string(f.bytes())
	case CharDevice, BlockDevice:
		n.Device = f.number()
	case Directory, Fifo:
	default:
		return nil, fmt.Errorf("%w: unknown type %q", ErrMalformed, n.Type)
	}
	return n, f.end()
}

// place gives the node its path and checks that it may stand there.
func (d *Decoder) place(n *Node, depth uint64, name string) error {
	switch {
	case depth > uint64(len(d.parents)):
		return fmt.Errorf("%w: %q has no parent", ErrMalformed, name)
	case depth == 0 && (d.last != "" || name != "." || n.Type != Directory):
		return fmt.Errorf("%w: %q at its root", ErrMalformed, name)
	case depth == 0:
		n.Path = "."
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("%w: %q is no name", ErrMalformed, name)
	case depth == 1:
		n.Path = name
	default:
		n.Path = d.parents[depth-1] + "/" + name
	}
	if d.last != "" && ComparePaths(d.last, n.Path) >= 0 {
		return fmt.Errorf("%w: %q is out of order", ErrMalformed, n.Path)
	}
	d.last = n.Path
	d.parents = d.parents[:depth]
	if n.Type == Directory {
		d.parents = append(d.parents, n.Path)
	}
	return nil
}

func (d *Decoder) name(b []byte) string {
	if s, ok := d.names[string(b)]; ok {
		return s
	}
	s := string(b)
	d.names[s] = s
	return s
}

// fields takes a record apart. After the first field that is not there, all
// that follow are zero; end tells.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) end() error {
	if f.bad || len(f.b) > 0 {
		return fmt.Errorf("%w: a record of the wrong length", ErrMalformed)
	}
	return nil
}

func (f *fields) byte() byte {
	if b := f.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (f *fields) take(n uint64) []byte {
	if f.bad || n > uint64(len(f.b)) {
		f.bad = true
		return nil
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) number() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.bad = true
		return 0
	}
	f.take(uint64(n))
	return v
}

// mode reads permissions, and nothing that says what a node is.
func (f *fields) mode() uint32 {
	v := f.number()
	f.bad = f.bad || v > 0o7777
	return uint32(v)
}

func (f *fields) id() uint32 {
	v := f.number()
	f.bad = f.bad || v > math.MaxUint32
	return uint32(v)
}

// size reads a number of bytes.
func (f *fields) size() int64 {
	v := f.number()
	f.bad = f.bad || v > math.MaxInt64
	return int64(v)
}

func (f *fields) bytes() []byte { return f.take(f.number()) }

// count reads how many items of at least size bytes follow.
func (f *fields) count(size int) int {
	n := f.number()
	if n > uint64(len(f.b)/size) {
		f.bad = true
		return 0
	}
	return int(n)
}

func (f *fields) time() time.Time {
	sec, n := binary.Varint(f.b)
	if n <= 0 {
		f.bad = true
		return time.Time{}
	}
	f.take(uint64(n))
	nanoseconds := f.number()
	f.bad = f.bad || nanoseconds >= uint64(time.Second)
	return time.Unix(sec, int64(nanoseconds))
}

// data reads where a file has data, and gives how much that is.
func (f *fields) data(n *Node) (total int64) {
	n.Data = make([]Extent, f.count(2))
	var end int64
	for i := range n.Data {
		gap, length := int64(f.number()), int64(f.number())
		if gap < 0 || length <= 0 || gap > n.Size-end || length > n.Size-end-gap {
			f.bad = true
			return 0
		}
		n.Data[i] = Extent{end + gap, length}
		end += gap + length
		total += length
	}
	return total
}

func (f *fields) content(n *Node) {
	n.Size, n.Sparse = f.size(), f.size()
	n.Content.Size = n.Size
	if n.Sparse != 0 {
		n.Content.Size = f.data(n)
	}
	n.Inode = f.number()
	n.Changed = f.time()
	n.Content.Depth = int(f.number())
	n.Content.Chunks = make([]pack.ID, f.count(len(pack.ID{})))
	for i := range n.Content.Chunks {
		copy(n.Content.Chunks[i][:], f.take(uint64(len(pack.ID{}))))
	}
}

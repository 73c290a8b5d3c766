package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/understudy-ha/understudy/backup/pack"
)

// Side is one source's part of one of two backups, A and B, that are compared.
type Side struct {
	Entry  Entry
	Reader *pack.Reader
}

// CompareOptions say how two backups' parts are compared.
type CompareOptions struct {
	// SameKeys says that both backups have the same data keys: then the same
	// chunk ids mean the same content, which need not be read. Others do not mean
	// other content.
	SameKeys bool
	// Scratch is a folder for temporary data, as large as both parts of a
	// database file, or 20 bytes for each row of a PostgreSQL dump.
	Scratch string
	// Found is told each difference as it is found; nil: nobody is.
	Found func(Change) error
	// Read is told of every number of bytes read; nil: nobody is.
	Read func(n int64)
}

// Kinds of Change.
const (
	Added   = "added"   // only in B
	Removed = "removed" // only in A
	Changed = "changed"
)

// Change is one difference: of a file, or of a row of a SQLite table.
type Change struct {
	Change string   `json:"change"`
	Path   string   `json:"path,omitempty"`   // of a file, relative to the source
	Type   string   `json:"type,omitempty"`   // of a file, in B unless it is only in A
	What   []string `json:"what,omitempty"`   // of a changed file: type, content, size, mode, owner, mtime, xattrs, target, device
	SizeA  int64    `json:"size_a,omitempty"` // of a file's content
	SizeB  int64    `json:"size_b,omitempty"`
	Table  string   `json:"table,omitempty"` // of a row
	Key    string   `json:"key,omitempty"`   // of a row: its primary key as SQL literals, or its rowid
}

// Difference says in what one source differs between two backups.
type Difference struct {
	// Same: nothing of what is compared differs. The dumps may still differ in
	// what a person does not see: a database file's free pages, a file's inode.
	Same   bool              `json:"same"`
	Files  *FileDifference   `json:"files,omitempty"`  // of a directory
	Tables []TableDifference `json:"tables,omitempty"` // of a database: those that differ
	Bytes  *ByteDifference   `json:"bytes,omitempty"`  // of a command's output
	Notes  []string          `json:"notes,omitempty"`  // for people
}

// FileDifference counts what differs in a directory.
type FileDifference struct {
	Added   FileCount `json:"added"`
	Removed FileCount `json:"removed"`
	Changed FileCount `json:"changed"`
}

// FileCount counts entries of a directory (files, folders, links), and the
// bytes of the files among them: in B, or in A where they are only there.
type FileCount struct {
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
}

// Add counts one more entry.
func (c *FileCount) Add(bytes int64) {
	c.Entries++
	c.Bytes += bytes
}

// TableDifference counts rows of one table.
type TableDifference struct {
	Name  string `json:"name"`
	RowsA int64  `json:"rows_a"`
	RowsB int64  `json:"rows_b"`
	OnlyA int64  `json:"only_in_a"`
	OnlyB int64  `json:"only_in_b"`
	// Changed counts rows with the same key in both. PostgreSQL dumps tell no
	// keys: there a row that was changed counts as one only in A and one only
	// in B.
	Changed int64  `json:"changed"`
	Note    string `json:"note,omitempty"` // for people
}

// Differs tells whether there is something to say of the table.
func (t *TableDifference) Differs() bool {
	return t.RowsA != t.RowsB || t.OnlyA+t.OnlyB+t.Changed > 0 || t.Note != ""
}

// ByteDifference says where two outputs part.
type ByteDifference struct {
	SizeA int64 `json:"size_a"`
	SizeB int64 `json:"size_b"`
	First int64 `json:"first_difference"` // offset of the first byte that differs, or that only one has
}

// Compare says in what a source's state in backup A differs from that in B.
// Both are of one kind. It reads no more than it must, needs nothing of the
// host that was dumped, and little memory, whatever the sizes.
func Compare(ctx context.Context, a, b Side, opt CompareOptions) (Difference, error) {
	kind, ok := kinds[a.Entry.Kind]
	if !ok || a.Entry.Kind != b.Entry.Kind {
		return Difference{}, fmt.Errorf("compare %s: a %s cannot be compared with a %s", a.Entry.Name, a.Entry.Kind, b.Entry.Kind)
	}
	c := &Comparison{A: a, B: b, Opt: opt}
	if c.identical() {
		return Difference{Same: true}, nil
	}
	d, err := kind.Compare(ctx, c)
	if err != nil {
		return Difference{}, fmt.Errorf("compare %s: %w", a.Entry.Name, err)
	}
	return d, nil
}

// Identical tells, without reading anything, that Compare would find no
// difference.
func Identical(a, b Entry, sameKeys bool) bool {
	return sameKeys && a.Kind == b.Kind && SameStream(a.Root, b.Root) &&
		(a.Extra == nil) == (b.Extra == nil) && (a.Extra == nil || SameStream(*a.Extra, *b.Extra))
}

// SameStream tells whether two streams are the same chunks.
func SameStream(a, b pack.Stream) bool {
	return a.Size == b.Size && a.Depth == b.Depth && slices.Equal(a.Chunks, b.Chunks)
}

// Comparison is one run of Compare.
type Comparison struct {
	A, B Side
	Opt  CompareOptions
}

func (c *Comparison) identical() bool { return Identical(c.A.Entry, c.B.Entry, c.Opt.SameKeys) }

// Found passes a difference on.
func (c *Comparison) Found(change Change) error {
	if c.Opt.Found == nil {
		return nil
	}
	return c.Opt.Found(change)
}

// Open opens a stream of one side, and counts what is read of it.
func (c *Comparison) Open(ctx context.Context, s Side, stream pack.Stream) io.ReadCloser {
	return &CountedStream{ReadCloser: s.Reader.Open(ctx, stream), read: c.Opt.Read}
}

// CountedStream tells how much is read of a stream, and keeps the error that the
// reading ended with.
type CountedStream struct {
	io.ReadCloser
	read func(int64)
	Err  error
}

// Read implements io.Reader.
func (r *CountedStream) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if r.read != nil {
		r.read(int64(n))
	}
	if err != nil && err != io.EOF {
		r.Err = err
	}
	return n, err
}

// FirstDifference reads two streams until they part, and gives the offset; -1
// when they do not. The chunks with which both begin are not read.
func (c *Comparison) FirstDifference(ctx context.Context, a, b pack.Stream) (_ int64, err error) {
	begin, err := c.skip(ctx, &a, &b)
	if err != nil {
		return 0, err
	}
	ra, rb := c.Open(ctx, c.A, a), c.Open(ctx, c.B, b)
	defer func() { err = errors.Join(err, ra.Close(), rb.Close()) }()
	ba, bb := bufio.NewReaderSize(ra, 64<<10), bufio.NewReaderSize(rb, 64<<10)
	for offset := begin; ; {
		x, errA := ba.Peek(max(1, ba.Buffered()))
		y, errB := bb.Peek(max(1, bb.Buffered()))
		if err := errors.Join(notEOF(errA), notEOF(errB)); err != nil {
			return 0, err
		}
		n := min(len(x), len(y))
		for i := range n {
			if x[i] != y[i] {
				return offset + int64(i), nil
			}
		}
		switch {
		case n > 0:
		case len(x) == len(y):
			return -1, nil
		default:
			return offset, nil
		}
		_, _ = ba.Discard(n) // what is buffered can be discarded
		_, _ = bb.Discard(n)
		offset += int64(n)
	}
}

// skip takes from two streams the chunks with which both begin, and gives their size.
func (c *Comparison) skip(ctx context.Context, a, b *pack.Stream) (size int64, err error) {
	n := 0
	for c.Opt.SameKeys && a.Depth == 0 && b.Depth == 0 && n < min(len(a.Chunks), len(b.Chunks)) && a.Chunks[n] == b.Chunks[n] {
		n++
	}
	if n == 0 {
		return 0, nil
	}
	for chunk, err := range c.A.Reader.Chunks(ctx, pack.Stream{Chunks: a.Chunks[:n]}) {
		if err != nil {
			return 0, err
		}
		size += int64(chunk.Size)
	}
	a.Chunks, a.Size = a.Chunks[n:], a.Size-size
	b.Chunks, b.Size = b.Chunks[n:], b.Size-size
	return size, nil
}

func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// Counted reads one side, and counts what is read of it.
func (c *Comparison) Counted(side Side) CountedChunks { return CountedChunks{c, side} }

// CountedChunks is one side's reader, whose reading is counted.
type CountedChunks struct {
	c    *Comparison
	side Side
}

// Open implements chunks.Reader.
func (r CountedChunks) Open(ctx context.Context, s pack.Stream) io.ReadCloser {
	return r.c.Open(ctx, r.side, s)
}

// CompareBytes compares two outputs byte for byte.
func CompareBytes(ctx context.Context, c *Comparison) (Difference, error) {
	a, b := c.A.Entry.Root, c.B.Entry.Root
	first, err := c.FirstDifference(ctx, a, b)
	if err != nil || first < 0 {
		return Difference{Same: first < 0}, err
	}
	return Difference{Bytes: &ByteDifference{SizeA: a.Size, SizeB: b.Size, First: first}}, nil
}

// Package pack turns streams of bytes into content-defined chunks, and chunks
// into packs: objects of at most 16 MiB that hold many chunks, compressed and
// encrypted, each named after the digest of its ciphertext.
//
//	stream → chunks (keyed FastCDC) → id (keyed BLAKE3) → known? → zstd → AES-256-GCM → pack → PUT
//
// Everything refers to chunks by id. An Index says in which pack, and where in
// it, each chunk is; every backup has an index of its own, which lists all the
// packs that the backup needs.
package pack

import (
	"context"
	"io"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
)

// ID names a chunk: a keyed hash of its plaintext, which tells nothing about
// the content to someone without the key.
type ID [32]byte

// Digest names a pack: the SHA-256 of its ciphertext. (Text form: hex.)
type Digest [32]byte

// Key is the pack's key in the bucket: packs/<aa>/<digest>.
func (d Digest) Key() string { panic("skeleton") }

// Stream is a sequence of bytes kept as chunks. With Depth 0, Chunks are the
// content in order. With Depth 1, Chunks hold a list of chunk ids, which are
// the content; and so on. (JSON: size, depth, chunks as base64url.)
type Stream struct {
	Size   int64 `json:"size"`
	Depth  int   `json:"depth,omitempty"`
	Chunks []ID  `json:"chunks"`
}

// Profile says how a stream is cut, by the kind of its content.
type Profile int

// Profiles. Sizes are chosen by the benchmark.
const (
	Files    Profile = iota // contents of files
	Database                // dumps, whose rows move a little
	Metadata                // lists of files; kept in packs of their own, of which the active keeps local copies
)

// Info describes a pack.
type Info struct {
	Digest Digest
	Size   int64     // bytes of ciphertext
	Time   time.Time // when it was last written, by the store's clock
	Meta   bool      // holds metadata
}

// Packs reads packs: from a local cache, from the bucket, or from one after
// the other.
type Packs interface {
	// ReadPack fills buf from offset off of the pack, or fails. A missing pack
	// is an error that wraps fs.ErrNotExist.
	ReadPack(ctx context.Context, d Digest, off int64, buf []byte) error
}

// PutFunc stores a finished pack and tells its time by the store's clock. It
// keeps no reference to data.
type PutFunc func(ctx context.Context, info Info, data []byte) (time.Time, error)

// WriterConfig is what a Writer needs.
type WriterConfig struct {
	Cluster  string
	Keys     seal.DataKeys
	Known    *Index          // the previous backup's index; nil for none
	Due      func(Info) bool // whether a known pack is due for renewal: its chunks count as unknown; nil for never
	Put      PutFunc         //
	Parallel int             // packs in flight; 0 chooses
	Random   io.Reader       // salts
}

// Writer writes the streams of one backup. It is safe for concurrent use.
type Writer struct{}

// NewWriter starts a backup's data.
func NewWriter(ctx context.Context, cfg WriterConfig) (*Writer, error) { panic("skeleton") }

// Write chunks all that r yields and stores the chunks that are not known.
// Small inputs cost no goroutine and little memory, so it may be called for a
// million files; depth is 0 except for Metadata and Database streams too long
// to list in a manifest.
func (w *Writer) Write(ctx context.Context, r io.Reader, p Profile) (Stream, error) {
	panic("skeleton")
}

// Keep carries a depth-0 stream of the previous backup over, unread. It
// reports false, and does nothing, when a chunk of it is unknown or due for
// renewal: then it must be written again.
func (w *Writer) Keep(s Stream) bool { panic("skeleton") }

// Stats counts what a Writer did.
type Stats struct {
	Logical int64  // bytes given to Write or kept
	New     int64  // bytes in chunks that were not known
	Stored  int64  // bytes of the packs written
	Chunks  int64  // new chunks
	Packs   []Info // written, in order
}

// Close stores what is unfinished, then the backup's index, waits for all, and
// returns where the index is and what was done.
func (w *Writer) Close(ctx context.Context) (IndexRef, Stats, error) { panic("skeleton") }

// Abort waits for uploads under way and gives up.
func (w *Writer) Abort() { panic("skeleton") }

// IndexRef locates a backup's index without an index: it stands in the
// manifest. (JSON.)
type IndexRef struct {
	// chunks with their pack, offset, length, size
}

// Index says where every chunk of a backup is. It is immutable.
type Index struct{}

// LoadIndex reads an index.
func LoadIndex(ctx context.Context, cluster string, keys seal.DataKeys, packs Packs, ref IndexRef) (*Index, error) {
	panic("skeleton")
}

// Packs lists the packs that the backup needs, the index's own included.
func (x *Index) Packs() []Info { panic("skeleton") }

// Reader reads the streams of one backup, verifying every chunk against its
// id. It is safe for concurrent use.
type Reader struct{}

// NewReader reads streams through an index.
func NewReader(cluster string, keys seal.DataKeys, index *Index, packs Packs) *Reader {
	panic("skeleton")
}

// Open reads a stream from its start, fetching ahead a little.
func (r *Reader) Open(ctx context.Context, s Stream) io.ReadCloser { panic("skeleton") }

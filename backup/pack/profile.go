package pack

import (
	"fmt"
	"io"
	"sync"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // registers the algorithm
)

// Profile says how a stream is cut, by the kind of its content.
type Profile int

// Profiles. Sizes are chosen by the benchmark.
const (
	Files    Profile = iota // contents of files
	Database                // dumps, whose rows move a little
	Metadata                // lists of files; kept in packs of their own, of which the active keeps local copies

	profiles = 3
)

// algorithm is FastCDC as its paper has it, with the gear table derived from a
// key. (The library's "kfastcdc" has masks for one chunk size only.)
const algorithm = "fastcdc-v1.0.0"

// maxChunkSize is the most that a chunk of any profile measures: one block of
// zstd.
const maxChunkSize = 128 << 10

// maxList is how many chunks are listed in place; a longer list is itself
// written as a stream, where the profile allows it.
const maxList = 8

func (p Profile) sizes() (least, normal int) {
	if p == Files {
		return 32 << 10, 64 << 10
	}
	return 8 << 10, 32 << 10 // rows and entries move a little at a time
}

// nests reports whether a long list of chunks is itself written as a stream.
func (p Profile) nests() bool { return p != Files }

// meta reports whether the chunks go to packs of metadata.
func (p Profile) meta() bool { return p == Metadata }

// cutter hands out chunkers of one profile. They are pooled with their
// buffers: a small file costs neither.
type cutter struct {
	opts chunkers.ChunkerOpts
	pool sync.Pool
}

func newCutter(p Profile, key []byte) *cutter {
	least, normal := p.sizes()
	return &cutter{opts: chunkers.ChunkerOpts{MinSize: least, NormalSize: normal, MaxSize: maxChunkSize, Key: key}}
}

// open gives a chunker that reads from r; close takes it back.
func (c *cutter) open(r io.Reader) (*chunkers.Chunker, error) {
	if pooled, ok := c.pool.Get().(*chunkers.Chunker); ok {
		pooled.Reset(r)
		return pooled, nil
	}
	opts := c.opts
	// Twice the maximum: with less, the chunker moves its window at every cut.
	chunker, err := chunkers.NewChunkerBuffer(algorithm, r, &opts, make([]byte, 2*opts.MaxSize))
	if err != nil {
		return nil, fmt.Errorf("set up the chunker: %w", err)
	}
	return chunker, nil
}

func (c *cutter) close(chunker *chunkers.Chunker) {
	chunker.Reset(nothing{}) // lets go of the caller's reader
	c.pool.Put(chunker)
}

// nothing is an empty stream.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }

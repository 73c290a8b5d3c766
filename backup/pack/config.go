package pack

import (
	"context"
	"io"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
)

// PutFunc stores a finished pack and tells its time by the store's clock. It
// keeps no reference to data. Several run at a time.
type PutFunc func(ctx context.Context, info Info, data []byte) (time.Time, error)

// WriterConfig is what a Writer needs.
type WriterConfig struct {
	Cluster  string
	Keys     seal.DataKeys
	Known    *Index          // the previous backup's index; nil for none
	Due      func(Info) bool // whether a known pack is due for renewal: its chunks count as unknown; nil for never
	Put      PutFunc         // where packs go
	Parallel int             // packs in flight; 0 chooses
	Random   io.Reader       // salts; nil is the system's
}

// defaultParallel is how many packs are stored at a time. With those that are
// being filled, six packs of packTarget bytes are in memory at most.
const defaultParallel = 4

// Stats counts what a Writer did.
type Stats struct {
	Logical int64  // bytes given to Write or kept
	New     int64  // bytes in chunks that were not known
	Stored  int64  // bytes of the packs written
	Chunks  int64  // new chunks
	Packs   []Info // written, in order
	Oldest  Info   // of all packs that the backup refers to, by Time
}

// Package blobstore is the bucket as the rest of Understudy sees it: named
// blobs that are read whole or in part, written under a condition, listed in
// key order and deleted. It knows nothing of backups.
//
// Providers live in sub-packages (s3store, filestore, …) and translate their
// own errors into the kinds below, once, at the edge. storetest holds the
// memory store, the conformance suite that every provider passes, and stores
// that fail on demand.
package blobstore

import (
	"context"
	"crypto/sha256"
	"io"
	"iter"
	"time"
)

// Token names one version of one blob. It is opaque, differs between any two
// versions with different content, and is only ever compared for equality or
// handed back in a condition. Writers put a nonce in every blob that they
// compare-and-swap, because a token may be a hash of the content.
type Token string

// Attrs describes one version of a blob.
type Attrs struct {
	Key   string
	Size  int64 // bytes
	Token Token
	// Time is when this version was written, by the store's clock. From Put it
	// is the store's answer to that very write.
	Time time.Time
}

// GetOptions narrows a read. The zero value reads the whole blob.
type GetOptions struct {
	Offset int64 // first byte
	Length int64 // number of bytes; 0 means to the end
	// IfChanged, when set, makes Get fail with ErrNotModified while the blob's
	// token is still this one.
	IfChanged Token
}

// Condition is what must hold for a Put to happen, and how long what it wrote
// must stay (Locked). The zero value is Always.
type Condition struct {
	absent bool
	match  Token
	lock   Lock
	hash   [sha256.Size]byte
	hashed bool
}

// Always puts no condition on a write.
var Always = Condition{}

// IfAbsent lets a write happen only while no blob has the key.
func IfAbsent() Condition { return Condition{absent: true} }

// IfMatch lets a write happen only while the blob's token is t. A missing blob
// does not match.
func IfMatch(t Token) Condition { return Condition{match: t} }

// Absent reports whether the condition is IfAbsent.
func (c Condition) Absent() bool { return c.absent }

// Match returns the token of an IfMatch condition, or "".
func (c Condition) Match() Token { return c.match }

// Hashed says that sum is the SHA-256 of what is written: a store whose requests are
// signed with it does not compute it again, and refuses a wrong one with ErrInvalid.
// Others do without.
func (c Condition) Hashed(sum [sha256.Size]byte) Condition {
	c.hash, c.hashed = sum, true
	return c
}

// KnownHash returns what Hashed was told, if it was.
func (c Condition) KnownHash() (sum [sha256.Size]byte, ok bool) { return c.hash, c.hashed }

// Conditional reports whether there is any condition.
func (c Condition) Conditional() bool { return c.absent || c.match != "" }

// Store is one bucket prefix. Keys are relative to it, with "/" between
// parts; CheckKey says which are good, and the others are ErrInvalid. A key
// must not go on after another one with a "/": stores that are file systems
// refuse it with ErrInvalid. All methods are safe for concurrent use and honour their context;
// every error is, or wraps, an *Error.
type Store interface {
	// Get opens a blob. The caller closes the body. A missing key is
	// ErrNotFound; an offset past the end is ErrInvalid.
	Get(ctx context.Context, key string, opt GetOptions) (io.ReadCloser, Attrs, error)
	// Stat describes a blob without reading it. A missing key is ErrNotFound.
	Stat(ctx context.Context, key string) (Attrs, error)
	// Put writes a blob whole, in one request, atomically: readers see the old
	// version or the new one. A condition that does not hold is
	// ErrPrecondition, and then this attempt has written nothing. When the
	// outcome of a conditional write cannot be known (time-out, reset, 409,
	// 5xx) the error is ErrUnknownOutcome and the write may still land later;
	// a conditional Put is never retried inside. Any other error of a
	// conditional Put means that it has written nothing and never will. Put
	// keeps no reference to body.
	Put(ctx context.Context, key string, body []byte, cond Condition) (Attrs, error)
	// List yields the blobs whose key has the prefix and sorts after the key
	// after ("" for all), in ascending byte order, until the consumer stops or
	// an error is yielded, which is the last pair.
	List(ctx context.Context, prefix, after string) iter.Seq2[Attrs, error]
	// Delete removes a blob. A missing key is not an error. There is no
	// conditional delete, because most stores ignore its condition: release a
	// lock by writing a released one.
	Delete(ctx context.Context, key string) error
}

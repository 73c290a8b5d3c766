package stream

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
)

// Folder is what the keys of parts begin with.
const Folder = "streams/"

// Position is where in its log a source is. Later is greater. What it counts is its
// source's kind's affair: bytes of a write-ahead log, transactions.
type Position uint64

// ID names a stream of a source: the epoch that opened it, and a counter from 1.
// (Text form: "3-1".)
type ID struct{ Epoch, N uint64 }

// String is the text form.
func (id ID) String() string { return fmt.Sprintf("%d-%d", id.Epoch, id.N) }

// IsZero reports whether id names no stream.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders streams of a source: the older one comes first.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Epoch, other.Epoch), cmp.Compare(id.N, other.N))
}

// ParseID reads the text form.
func ParseID(text string) (ID, error) {
	epoch, n, _ := strings.Cut(text, "-")
	var id ID
	var err error
	if id.Epoch, err = strconv.ParseUint(epoch, 10, 64); err == nil {
		id.N, err = strconv.ParseUint(n, 10, 64)
	}
	if err != nil || id.String() != text {
		return ID{}, fmt.Errorf("read the name of a stream: %q is not of the form epoch-number, as in 3-1", text)
	}
	return id, nil
}

// MarshalText gives the text form.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// Key is the key of a part in the bucket.
func Key(source string, id ID, sequence uint64) string {
	return fmt.Sprintf("%s%s/%s/%012d", Folder, source, id, sequence)
}

// CheckSource says why the log of a source of this name cannot be kept in a bucket, or
// nil.
func CheckSource(name string) error {
	if strings.Contains(name, "/") {
		return fmt.Errorf("source %q: a name with a / cannot be kept in a bucket", name)
	}
	if err := blobstore.CheckKey(Key(name, ID{1, 1}, 1)); err != nil {
		return fmt.Errorf("source %q: %w", name, err)
	}
	return nil
}

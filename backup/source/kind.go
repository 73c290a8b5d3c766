package source

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/stream"
)

// Kind is what the package of one kind of source registers: what can be done with
// an entry of the kind, wherever it was dumped. Functions that may be nil say what
// holds then.
type Kind struct {
	// Name is the kind of its entries.
	Name string
	// Files says that sources of the kind are files.
	Files bool
	// Export is ExportTo.
	Export func(ctx context.Context, r *pack.Reader, e Entry, at fsx.Place) error
	// Compare is Compare, of dumps that are not identical.
	Compare func(ctx context.Context, c *Comparison) (Difference, error)
	// SameStage is SameStage of dumps of the same bytes; nil: they have the same one.
	SameStage func(a, b Entry) bool
	// Lost is Lost.
	Lost func(was, is Entry) string
	// Since is Since, of a position that is known; nil: it cannot be told.
	Since func(e Entry, position string) string
	// Held is Held; nil: nobody counts it.
	Held func(e Entry) string
	// HeldIn is HeldIn; nil: no file systems are mounted within.
	HeldIn func(e Entry) func(path string) bool
	// LogPosition is LogPosition; nil: the kind has no log that is shipped.
	LogPosition func(e Entry) (stream.Position, bool)
	// Moments is what a kind can do that records each change with its time; nil: it does not.
	Moments *Moments
	// MaybeFull tells whether a full disk may have caused an error of the kind's
	// own; nil: it has none.
	MaybeFull func(error) bool
}

// kinds are the registered ones. Only the start of the program writes to it.
var kinds = map[string]Kind{}

// Register makes a kind known. The package of the kind calls it when it is
// initialized.
func Register(k Kind) {
	if _, there := kinds[k.Name]; there {
		panic(fmt.Sprintf("source: kind %q is registered twice", k.Name))
	}
	kinds[k.Name] = k
}

// Kinds lists the names of the registered kinds, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// IsFiles reports whether sources of a kind are files.
func IsFiles(kind string) bool { return kinds[kind].Files }

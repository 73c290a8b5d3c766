package source

import (
	"context"
	"math"

	"github.com/understudy-ha/understudy/backup/pack"
)

// Spot is a place in what is staged of a source.
type Spot struct {
	Path   string `json:"path,omitempty"`   // of a file in a directory
	Offset int64  `json:"offset,omitempty"` // in its content
}

// Behind is the spot behind the file at this one.
func (s Spot) Behind() Spot { return Spot{s.Path, PastEnd} }

// PastEnd is the offset behind the content of a file.
const PastEnd = math.MaxInt64

// Passage is what a reading of staged content came to.
type Passage struct {
	Next   Spot  // where it goes on
	Ended  bool  // there is no more
	Files  int64 // that were read to their end
	Unread int64 // files that this agent may not read
	Bytes  int64 // that were found to be the backup's
	Cost   int64 // of the budget
	Bad    *Spot // here the content is not the backup's
}

// Rereader is a Restorer whose stage can be read and compared with the chunks of
// the dump: so what has rotted on the disk shows, which no fingerprint and no mark does.
// Holes of files are not read.
type Rereader interface {
	// OpenStaged opens the stage of e. Nothing changes the stage meanwhile; the
	// reading itself may go on beside anything.
	OpenStaged(e Entry) (StagedContent, error)
	// Distrust reads again what was bad, and reports whether it is still so. Then
	// the stage does not count as whole any more. Nothing else changes the stage
	// meanwhile.
	Distrust(ctx context.Context, r *pack.Reader, e Entry, at Spot) (bad bool, err error)
}

// StagedContent is a stage's content.
type StagedContent interface {
	// Read reads about as many bytes as the budget says, and stops at the first
	// that are bad.
	Read(ctx context.Context, r *pack.Reader, from Spot, budget int64) (Passage, error)
	Close() error
}

package source

import "context"

// Inspection is what a comparison of a stage with its marks found.
type Inspection struct {
	Entries int64  // compared
	Damaged int64  // that are not as they were written, or gone
	First   string // of these
}

// Inspector is a Restorer that compares its stage, entry by entry, with what it
// was when it was written: not its content, but all that tells that somebody
// wrote to it. It takes as long as there are entries, however large they are.
type Inspector interface {
	Inspect(ctx context.Context) (Inspection, error)
}

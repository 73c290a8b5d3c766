package source

// Reach is how far the swap of one source has come.
type Reach int

// Reaches.
const (
	ReachNone   Reach = iota // nothing is staged, nothing was replaced
	ReachStaged              // a stage is there, and the target is as it was
	ReachBegun               // some steps of the swap are done
	ReachPlaced              // the stage is in place, and what it replaced is kept
)

// Package staging keeps a backup beside the live state of this host, restored, verified
// and judged, so that a promotion to it is a swap; and swaps.
//
//	Stage       what is staged: rehearses, restores, swaps in, rolls back
//	Rehearsals  what came of rehearsals, on disk
//	Reader      reads the stage in rotation, and has what has rotted restored again
//	Leftovers   deletes what a swap has replaced, and what is staged no longer
//	Kept        what an interrupted restore had replaced, until somebody deletes it
//
// It decides nothing about roles: the agent says when.
package staging

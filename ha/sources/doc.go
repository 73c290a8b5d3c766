// Package sources knows what is to be known of the sources of this host between backups,
// whatever their kinds.
//
//	Volumes   on which file systems they lie, and whether those are still there
//	Changes   which are not what they were, and what an operator has confirmed
//	Doubts    what the newest backup says against the live state
//	Position  how far they have come
package sources

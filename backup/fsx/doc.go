// Package fsx is work in folders to which others may write.
//
// An agent that runs as root works beside the application's files, in folders
// that belong to the application's user. That user can rename a folder, and put a
// symbolic link, a fifo or a hard link under any name, between any two system
// calls. So nothing here is reached by a path that is walked twice: Resolve walks
// a path once, and holds the folder that the path leads into. What happens then
// happens in that folder, by a single name, and follows no link. What is
// made is held from the moment at which it is made.
//
// Of a symbolic link in a path the owner counts: one of root, or of the agent's own
// user, is followed wherever it leads. One of somebody else is followed only to
// what belongs to that user: see ErrForeignLink.
//
// For folders of the agent's own, to which nobody else writes, path.go has the few
// functions that take a path.
package fsx

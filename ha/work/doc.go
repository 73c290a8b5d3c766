// Package work makes backups, and brings those of others into this instance's cache.
//
//	Maker     makes backups and salvages
//	Cached    the backups in the cache, and how they come there
//	Progress  how far the work under way is
//	Packing   asks for a backup where a log needs one before the schedule makes it
//
// It decides nothing about roles: the agent says when.
package work

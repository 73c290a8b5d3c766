// Package following keeps a standby's replicas up to date: it reads the streams that the
// head names from the bucket, part by part, and hands their log to the sources.
//
//	Following  the followers of all sources, and what a promotion asks of them
//	follower   one source's: where it is in which stream
//
// A replica is the stage of its source: a rehearsal puts it there, from a backup; the
// stream takes it on from there. Nothing here is irreversible: a promotion applies the log
// up to the stream's end, and swaps the stage in like any other.
package following

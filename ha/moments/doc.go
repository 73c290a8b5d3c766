// Package moments says to which moments the sources of a cluster can be brought back, and
// by what: a base in a backup, the log in the backups from there on, and the log that was
// shipped beyond them. It reads the bucket alone.
package moments

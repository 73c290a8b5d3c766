// Package report is what an instance says of itself and of its cluster: its status, what
// it counts, and whether it is well, which one function decides (Status.Judge).
//
// It asks nobody, and does no I/O.
package report

// Package watch looks again and again at what people are to be told of this instance and
// of its cluster.
//
//	Readiness  what this host lacks for a promotion
//	Overdue    for how long no backup has come
//	Aftermath  what the newest backup lacks, and how the present epoch began
//
// Nothing is decided by it.
package watch

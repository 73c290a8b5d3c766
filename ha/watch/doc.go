// Package watch looks again and again at what people are to be told of this instance and
// of its cluster.
//
//	Readiness  what this host lacks for a promotion
//	Overdue    for how long no backup has come
//	Folder     whether the data folder has room, and its folders are folders
//	Aftermath  what the newest backup lacks, and how the present epoch began
//	Logs       the log that the servers of an active's sources keep
//
// Nothing is decided by it.
package watch

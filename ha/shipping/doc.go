// Package shipping ships the logs of an active's sources, as they are written, to the
// bucket.
//
//	Shipping  the shippers of all sources, and until when they may confirm
//	shipper   one source's: which stream it ships, and what has become of it
//	run       one stream of it: reads log, appends parts, confirms
//
// It decides nothing about who is active: the machine says which streams the head names,
// and a part is appended, and confirmed to its source, only while a head of this process
// was confirmed within its TTL. What a shipper meets in the bucket (an end part, another
// log) it tells the machine.
package shipping

// Package stream ships the log of a source through the bucket, as it is written: the
// parts of a stream, the chain that they make, and how a stream is ended. It knows the
// bucket and the keys; it knows no source, and not who is active.
//
// # Words
//
// A stream is the log of one source in one term of one incarnation: an unbroken
// sequence of parts. An ID names it: the epoch that opened it, and a counter from 1
// within the epoch. A part holds some log, from one Position to the next. An end part
// holds none, and closes its stream for ever. A Tip is a part as its successor names it.
//
// # What is in the bucket
//
//	streams/<source>/<epoch>-<n>/<sequence, 12 digits>   from 1; created once and never changed
//
// Each part names the digest of the one before it. So a reader goes from part to part
// by the next name, and nothing lists. One object alone can have a name: whoever
// appends and whoever ends a stream agree by that on what the stream is, and an active
// that was replaced cannot append behind an end part.
//
// Parts expire after Life by the bucket's rules. A backup packs their log before.
package stream

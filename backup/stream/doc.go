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
// Each part names the digest (SHA-256) of the one before it. So a reader goes from part
// to part by the next name, and nothing lists. One object alone can have a name: whoever
// appends and whoever ends a stream agree by that on what the stream is, and an active
// that was replaced cannot append behind an end part.
//
// Parts expire after Life by the bucket's rules. A backup packs their log before.
//
// # Part
//
// Integers are little-endian.
//
//	magic "USPART" | version 2 bytes (1) | length of the header 4 bytes | header | body
//
// The header is a JWS (package seal: HS256 by every key that is active or retiring),
// whose protected header binds it to the type "part", the cluster and its own key, and
// so to source, stream and sequence. Who has the data keys alone can make none. Its
// payload is JSON:
//
//	{
//	  "previous": "8552768355bfd9a37aac832af9c352943b544789f96a550a9cb6e529cef144c7",
//	  "incarnation": "5f0e9c1d",
//	  "from": 83886080,
//	  "to": 83927040,
//	  "time": "2026-03-01T12:05:00Z",
//	  "begin": {"timeline": 3},
//	  "log": {
//	    "size": 40960,
//	    "data_key": "v1.b7eebfd2.vh7b9e2LFa7H…",
//	    "salt": "eG08xZiqrOzSIO5P9cCCCQ==",
//	    "digest": "39b5a435a71742d8089a2e53e4f337ac1446ae40d233338f74a4b154f70af136"
//	  }
//	}
//
// The first part has no "previous". What a reader of the kind of source must know of the
// stream is "begin", in each part, so that a reader can begin at any. An end part has
// "end" in the place of "log", and no body. The body is the log as a zstd frame, encrypted
// with AES-256-GCM under a key that the data keys and the salt yield, with a nonce of
// zeros, as no other part has the key; "digest" is the body's. Unknown members are ignored; a reader refuses a version that it does not know.
package stream

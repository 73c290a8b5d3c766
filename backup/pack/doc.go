// Package pack turns streams of bytes into content-defined chunks, and chunks
// into packs: objects of at most 16 MiB that hold many chunks, compressed and
// encrypted, each named after the digest of its ciphertext.
//
//	stream → chunks (keyed FastCDC) → id (keyed BLAKE3) → known? → zstd → AES-256-GCM → pack → PUT
//
// A file that has changed is cut as it was before, where it still is as it was
// (Writer.WriteOver): so the same content may be in other chunks, but the same
// chunks are the same content.
//
// Everything refers to chunks by id. An Index says in which pack, and where in
// it, each chunk is; every backup has an index of its own, which lists all the
// packs that the backup needs. All integers below are little-endian.
//
// # Keys
//
// The chunk key of the data keys yields, by BLAKE3 key derivation, the key of
// the chunk ids (context "understudy 2026 chunk id v1") and the key of the
// chunk boundaries ("understudy 2026 chunk boundaries v1"). The encryption key
// and a pack's salt yield the pack's own AES-256-GCM key (package seal).
//
// # Pack
//
//	header   magic "USPACK" | version 2 bytes (1) | salt 16 bytes
//	frame    ciphertext and 16-byte tag, for each chunk
//	trailer  ciphertext and tag of the pack's records, then its length, 4 bytes
//
// A frame's plaintext is the chunk, as a zstd frame or raw when that does not
// make it smaller. The 12-byte nonce is the frame's offset in the pack (8
// bytes, after 4 zero bytes): a counter under a key that no other pack has.
// The associated data are "understudy pack v1", one byte for the frame's kind
// (0 zstd, 1 raw, 2 trailer) and the cluster id; the nonce binds the position.
// The trailer makes a pack readable without any index (see Contents).
//
// # Record
//
//	id 32 bytes | offset 4 | length 4 (with tag) | size 4 (of the chunk; the top bit says raw)
//
// # Index
//
//	magic "USINDEX\x01", then for each pack a section:
//	digest 32 | salt 16 | time 8 (Unix milliseconds) | size 4 | records 4 | flags 4 (1: metadata) | zero 4
//	record, for each chunk in the pack
//
// A section never changes while its pack is in use, and new ones are appended,
// so that the index, which is itself cut into chunks, deduplicates. Its chunks
// are found without an index: an IndexRef holds, for each, its pack and its
// record. Where that list would be long, it is written like the index itself
// (pack head as in a section, with one record, for each chunk), and the
// IndexRef locates the list; and so on (IndexRef.Depth).
package pack

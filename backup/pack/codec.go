package pack

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/klauspost/compress"
	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/blake3"

	"github.com/understudy-ha/understudy/backup/seal"
)

// codec makes chunks into frames and back. It is safe for concurrent use.
type codec struct {
	keys    seal.DataKeys
	bounds  [32]byte                 // key of the chunk boundaries
	context [frameTrailer + 1][]byte // associated data by kind of frame
	hashers sync.Pool                // of *blake3.Hasher, keyed for chunk ids
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func newCodec(cluster string, keys seal.DataKeys) (*codec, error) {
	c := &codec{keys: keys}
	for kind := range c.context {
		c.context[kind] = append([]byte("understudy pack v1"), byte(kind))
		c.context[kind] = append(c.context[kind], cluster...)
	}
	blake3.DeriveKey("understudy 2026 chunk boundaries v1", keys.Chunk[:], c.bounds[:])
	var idKey [32]byte
	blake3.DeriveKey("understudy 2026 chunk id v1", keys.Chunk[:], idKey[:])
	keyed, err := blake3.NewKeyed(idKey[:])
	if err != nil {
		return nil, fmt.Errorf("set up the chunk hash: %w", err)
	}
	c.hashers.New = func() any { return keyed.Clone() }
	// The frame's tag guards the content, so zstd's own checksum is not needed.
	// The window comes before the level, so that a chunk is one block, which is
	// the encoder's fast path.
	c.encoder, err = zstd.NewWriter(nil, zstd.WithWindowSize(maxChunkSize),
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("set up compression: %w", err)
	}
	c.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0),
		zstd.WithDecoderMaxMemory(maxChunkSize), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("set up decompression: %w", err)
	}
	return c, nil
}

// id names a chunk.
func (c *codec) id(chunk []byte) (id ID) {
	h := c.hashers.Get().(*blake3.Hasher)
	h.Reset()
	_, _ = h.Write(chunk) // never fails
	h.Sum(id[:0])
	c.hashers.Put(h)
	return id
}

// compress gives the chunk as it is to be sealed: compressed into scratch, or
// as it is when that would not make it smaller.
func (c *codec) compress(chunk, scratch []byte) (data []byte, raw bool) {
	if !compressible(chunk) {
		return chunk, true
	}
	packed := c.encoder.EncodeAll(chunk, scratch[:0])
	if len(packed) >= len(chunk) {
		return chunk, true
	}
	return packed, false
}

// compressible guesses from two samples; trying in vain costs much more.
func compressible(chunk []byte) bool {
	const sample, threshold = 2 << 10, 0.05
	if len(chunk) < 4*sample {
		return true
	}
	return compress.Estimate(chunk[:sample]) > threshold ||
		compress.Estimate(chunk[len(chunk)/2:][:sample]) > threshold
}

// aead is the cipher of the pack with this salt.
func (c *codec) aead(salt Salt) (seal.AEAD, error) {
	aead, err := c.keys.PackAEAD(salt[:])
	if err != nil {
		return nil, fmt.Errorf("derive the key of a pack: %w", err)
	}
	if aead.Overhead() != tagSize || aead.NonceSize() != 12 {
		return nil, fmt.Errorf("derive the key of a pack: a cipher with a tag of %d and a nonce of %d bytes",
			aead.Overhead(), aead.NonceSize())
	}
	return aead, nil
}

// open decrypts and decompresses the frame of r into dst's room, and compares
// the chunk with its id. scratch is room for the compressed chunk.
func (c *codec) open(aead seal.AEAD, r record, frame, dst, scratch []byte) ([]byte, error) {
	target := scratch
	if r.raw {
		target = dst
	}
	plain, err := aead.Open(target[:0], nonce(r.offset), frame, c.context[r.kind()])
	if err != nil {
		return nil, fmt.Errorf("%w: chunk at byte %d cannot be authenticated", ErrCorrupt, r.offset)
	}
	if !r.raw {
		if plain, err = c.decoder.DecodeAll(plain, room(dst, int(r.size))); err != nil {
			return nil, fmt.Errorf("%w: decompress chunk at byte %d: %w", ErrCorrupt, r.offset, err)
		}
	}
	if len(plain) != int(r.size) || c.id(plain) != r.id {
		return nil, fmt.Errorf("%w: chunk at byte %d is not the one that the index names", ErrCorrupt, r.offset)
	}
	return plain, nil
}

// openFrom is open for a frame that was read from packs. A damaged one is
// looked for where else packs says.
func (c *codec) openFrom(ctx context.Context, packs Packs, d Digest, aead seal.AEAD, r record, frame, dst, scratch []byte) ([]byte, error) {
	plain, err := c.open(aead, r, frame, dst, scratch)
	if err == nil {
		return plain, nil
	}
	others, mendErr := elsewhere(ctx, packs, d)
	if mendErr != nil {
		err = fmt.Errorf("%w (and no sound copy was found: %w)", err, mendErr)
	}
	for _, p := range others {
		other := make([]byte, r.length)
		if p.ReadPack(ctx, d, int64(r.offset), other) != nil {
			continue // the damage is what is worth reporting
		}
		if plain, err := c.open(aead, r, other, dst, scratch); err == nil {
			return plain, nil
		}
	}
	return nil, packError(d, err)
}

func nonce(offset uint32) []byte {
	var n [12]byte
	binary.BigEndian.PutUint64(n[4:], uint64(offset))
	return n[:]
}

// room gives an empty slice with room for exactly size bytes, in b where it
// fits.
func room(b []byte, size int) []byte {
	if cap(b) < size {
		b = make([]byte, size)
	}
	return b[:0:size]
}

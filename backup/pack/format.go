package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Sizes of the parts of packs and indexes, in bytes.
const (
	packHeaderSize = 8 + 16
	packFooterSize = 4
	tagSize        = 16
	sectionSize    = 72
	recordSize     = 44
	locatedSize    = sectionSize + recordSize
)

// timeUnit is how finely the times of packs are kept.
const timeUnit = time.Millisecond

// MaxPackSize is the most that a pack may measure, in bytes.
const MaxPackSize = 16 << 20

const (
	packMagic  = "USPACK\x01\x00"
	indexMagic = "USINDEX\x01"
)

const (
	flagMeta = 1
	rawBit   = 1 << 31
)

// frameKind says how a frame is to be read. It is authenticated.
type frameKind byte

const (
	frameZstd frameKind = iota
	frameRaw
	frameTrailer
)

// ErrCorrupt marks data that is not what was written: cut short, damaged, or
// of another cluster or key.
var ErrCorrupt = errors.New("damaged")

// record says where in its pack a chunk is.
type record struct {
	id     ID
	offset uint32 // of the frame, from the pack's start
	length uint32 // of the frame, tag included
	size   uint32 // of the chunk
	raw    bool   // not compressed
}

func (r record) kind() frameKind {
	if r.raw {
		return frameRaw
	}
	return frameZstd
}

func (r record) end() uint32 { return r.offset + r.length }

func (r record) append(b []byte) []byte {
	size := r.size
	if r.raw {
		size |= rawBit
	}
	b = append(b, r.id[:]...)
	b = binary.LittleEndian.AppendUint32(b, r.offset)
	b = binary.LittleEndian.AppendUint32(b, r.length)
	return binary.LittleEndian.AppendUint32(b, size)
}

// readRecord reads the record that b begins with.
func readRecord(b []byte) record {
	size := binary.LittleEndian.Uint32(b[40:])
	return record{
		id:     ID(b[:32]),
		offset: binary.LittleEndian.Uint32(b[32:]),
		length: binary.LittleEndian.Uint32(b[36:]),
		size:   size &^ rawBit,
		raw:    size&rawBit != 0,
	}
}

// check refuses a record that no writer makes, so that readers can rely on its
// numbers.
func (r record) check() error {
	end := uint64(r.offset) + uint64(r.length)
	if r.offset < packHeaderSize || r.length <= tagSize || end > MaxPackSize {
		return fmt.Errorf("%w: chunk %s lies at bytes %d to %d of its pack", ErrCorrupt, r.id, r.offset, end)
	}
	if r.size == 0 || r.size > maxChunkSize || r.raw && r.size != r.length-tagSize {
		return fmt.Errorf("%w: chunk %s has %d bytes in a frame of %d", ErrCorrupt, r.id, r.size, r.length)
	}
	return nil
}

// packHead is what is known of a pack besides its records.
type packHead struct {
	Info
	salt Salt
}

func (h packHead) append(b []byte, records int) []byte {
	var flags uint32
	if h.Meta {
		flags |= flagMeta
	}
	b = append(b, h.Digest[:]...)
	b = append(b, h.salt[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Time.UnixMilli()))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.Size))
	b = binary.LittleEndian.AppendUint32(b, uint32(records))
	b = binary.LittleEndian.AppendUint32(b, flags)
	return binary.LittleEndian.AppendUint32(b, 0)
}

// readHead reads the head that b begins with, and the number of its records.
func readHead(b []byte) (packHead, int) {
	return packHead{
		Info: Info{
			Digest: Digest(b[:32]),
			Time:   time.UnixMilli(int64(binary.LittleEndian.Uint64(b[48:]))).UTC(),
			Size:   int64(binary.LittleEndian.Uint32(b[56:])),
			Meta:   binary.LittleEndian.Uint32(b[64:])&flagMeta != 0,
		},
		salt: Salt(b[32:48]),
	}, int(binary.LittleEndian.Uint32(b[60:]))
}

// putTime changes the time of the head that b begins with.
func putTime(b []byte, t time.Time) {
	binary.LittleEndian.PutUint64(b[48:], uint64(t.UnixMilli()))
}

package pack

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/backup/seal"
)

// Contents reads every chunk of one pack, given whole, by its own trailer, and
// hands it to fn, which keeps no reference to it. It needs no index: it is for
// disaster recovery, and for checking a pack.
func Contents(cluster string, keys seal.DataKeys, pack []byte, fn func(id ID, chunk []byte) error) error {
	c, err := newCodec(cluster, keys)
	if err != nil {
		return err
	}
	if len(pack) < packHeaderSize+packFooterSize || string(pack[:len(packMagic)]) != packMagic {
		return fmt.Errorf("read pack: %w: it is not a pack of a format that is known here", ErrCorrupt)
	}
	aead, err := c.aead(Salt(pack[len(packMagic):packHeaderSize]))
	if err != nil {
		return err
	}
	end := len(pack) - packFooterSize
	length := binary.LittleEndian.Uint32(pack[end:])
	if int64(length) > int64(end-packHeaderSize) {
		return fmt.Errorf("read pack: %w: its trailer does not fit", ErrCorrupt)
	}
	offset := uint32(end) - length
	records, err := aead.Open(nil, nonce(offset), pack[offset:end], c.context[frameTrailer])
	if err != nil || len(records)%recordSize != 0 {
		return fmt.Errorf("read pack: %w: its trailer cannot be authenticated", ErrCorrupt)
	}
	dst, scratch := make([]byte, 0, maxChunkSize), make([]byte, 0, maxChunkSize)
	for at := uint32(packHeaderSize); len(records) > 0; records = records[recordSize:] {
		r := readRecord(records)
		if err := errors.Join(r.check(), follows(r, at, offset)); err != nil {
			return fmt.Errorf("read pack: %w", err)
		}
		chunk, err := c.open(aead, r, pack[r.offset:r.end()], dst, scratch)
		if err != nil {
			return fmt.Errorf("read pack: %w", err)
		}
		if err := fn(r.id, chunk); err != nil {
			return err
		}
		at = r.end()
	}
	return nil
}

// follows checks that a frame begins where the one before it ended.
func follows(r record, at, end uint32) error {
	if r.offset != at || r.end() > end {
		return fmt.Errorf("%w: chunk %s is not in its place", ErrCorrupt, r.id)
	}
	return nil
}

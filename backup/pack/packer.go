package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/understudy-ha/understudy/backup/seal"
)

// packTarget is the size from which on a pack is stored, in bytes. Smaller
// than MaxPackSize, so that a few packs in flight stay within the memory that
// a backup may use.
const packTarget = 8 << 20

// packer collects frames of one class (data, metadata, index) into packs and
// stores full ones in the background. It is safe for concurrent use.
type packer struct {
	codec  *codec
	meta   bool
	random io.Reader
	put    PutFunc
	slots  chan []byte     // buffers; shared by packers, so that they bound the memory of all
	fail   func(error)     // told of the first failure of a background job
	jobs   *sync.WaitGroup // background jobs

	mu   sync.Mutex
	open *openPack     // being filled; nil for none
	done []*storedPack // in the order in which they were begun
}

// openPack is a pack that is being filled.
type openPack struct {
	aead    seal.AEAD
	buf     []byte
	records []byte
	count   int
	stored  *storedPack
}

// storedPack is a pack that was begun. Its head is known once it is stored.
type storedPack struct {
	packHead
	records []byte
	count   int
}

// add seals a chunk into the pack that is being filled. data is the chunk as
// compress gave it. The record is final, its pack's head is not.
func (p *packer) add(ctx context.Context, id ID, data []byte, raw bool, size int) (*storedPack, record, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		if err := p.begin(ctx); err != nil {
			return nil, record{}, err
		}
	}
	o := p.open
	r := record{id: id, offset: uint32(len(o.buf)), length: uint32(len(data) + tagSize), size: uint32(size), raw: raw}
	o.buf = grow(o.buf, int(r.length))
	// Sealing under the lock costs little beside compression, and keeps
	// offsets, which are the nonces, in order.
	o.buf = o.aead.Seal(o.buf, nonce(r.offset), data, p.codec.context[r.kind()])
	o.records = r.append(o.records)
	o.count++
	if len(o.buf)+len(o.records) >= packTarget {
		p.finish(ctx)
	}
	return o.stored, r, nil
}

// flush stores the pack that is being filled, if there is one.
func (p *packer) flush(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open != nil {
		p.finish(ctx)
	}
}

// begin opens a pack, waiting for a buffer while too many packs are in flight.
func (p *packer) begin(ctx context.Context) error {
	var salt Salt
	if _, err := io.ReadFull(p.random, salt[:]); err != nil {
		return fmt.Errorf("make the salt of a pack: %w", err)
	}
	aead, err := p.codec.aead(salt)
	if err != nil {
		return err
	}
	var buf []byte
	select {
	case buf = <-p.slots:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	buf = buf[:0]
	if len(p.done) > 0 { // where one pack was filled, others will be
		buf = grow(buf, fullBuffer)
	}
	buf = grow(buf, packHeaderSize)
	buf = append(buf, packMagic...)
	buf = append(buf, salt[:]...)
	stored := &storedPack{packHead: packHead{Info: Info{Meta: p.meta}, salt: salt}}
	p.open = &openPack{aead: aead, buf: buf, stored: stored}
	p.done = append(p.done, stored)
	return nil
}

// finish ends the pack that is being filled and stores it in the background.
func (p *packer) finish(ctx context.Context) {
	o := p.open
	p.open = nil
	p.jobs.Go(func() {
		defer func() { p.slots <- o.buf }()
		o.buf = grow(o.buf, len(o.records)+tagSize+packFooterSize)
		o.buf = sealTrailer(p.codec, o.aead, o.buf, o.records)
		if err := p.store(ctx, o); err != nil {
			p.fail(err)
		}
	})
}

func (p *packer) store(ctx context.Context, o *openPack) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	info := Info{Digest: sha256.Sum256(o.buf), Size: int64(len(o.buf)), Meta: p.meta}
	t, err := p.put(ctx, info, o.buf)
	if err != nil {
		return fmt.Errorf("store %s: %w", info.Digest.Key(), err)
	}
	info.Time = t.UTC().Truncate(timeUnit)
	// Of the size that is needed, as there may be a million records in all.
	o.stored.Info, o.stored.records, o.stored.count = info, bytes.Clone(o.records), o.count
	return nil
}

// sealTrailer ends a pack with its records.
func sealTrailer(c *codec, aead seal.AEAD, buf, records []byte) []byte {
	offset := len(buf)
	buf = aead.Seal(buf, nonce(uint32(offset)), records, c.context[frameTrailer])
	return binary.LittleEndian.AppendUint32(buf, uint32(len(buf)-offset))
}

// fullBuffer is room for a full pack, in bytes.
const fullBuffer = packTarget + 2*maxChunkSize

// grow makes room for n more bytes: in big steps, because packs are either
// tiny or full, and never far beyond what a pack needs.
func grow(b []byte, n int) []byte {
	need := len(b) + n
	if need <= cap(b) {
		return b
	}
	size := 64 << 10
	for size < need {
		size *= 4
	}
	if need <= fullBuffer {
		size = min(size, fullBuffer)
	}
	grown := make([]byte, len(b), size)
	copy(grown, b)
	return grown
}

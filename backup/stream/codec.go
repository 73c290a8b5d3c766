package stream

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/understudy-ha/understudy/backup/seal"
)

const saltSize = 16

// sealedAs are the associated data of a part's body. All else is the header's affair.
var sealedAs = []byte("understudy part v1")

// codec makes parts into objects and back. It is safe for concurrent use.
type codec struct {
	ring    *seal.Ring
	cluster string
	keys    *seal.DataKeys // nil: no log is written
	wrapped string         // the keys, for readers
	random  io.Reader
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func newCodec(cfg Config) (*codec, error) {
	c := &codec{ring: cfg.Ring, cluster: cfg.Cluster, keys: cfg.Keys, random: cfg.Random}
	var err error
	if c.keys != nil {
		// Once, not for each part: a key wraps 2^32 values at the most.
		if c.wrapped, err = c.ring.Wrap(*c.keys, c.cluster, c.random); err != nil {
			return nil, err
		}
	}
	// It runs beside the application, each second; the next level saves one per cent of a
	// write-ahead log. The part's tag guards the content, so that zstd's own checksum is
	// not needed.
	if c.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true)); err != nil {
		return nil, fmt.Errorf("set up compression: %w", err)
	}
	c.decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0),
		zstd.WithDecoderMaxMemory(MaxLog), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("set up decompression: %w", err)
	}
	return c, nil
}

func (c *codec) scope(key string) seal.Scope {
	return seal.Scope{Type: "part", Cluster: c.cluster, Object: key}
}

// encode makes a part into an object, and what its successor is to name.
func (c *codec) encode(p *Part) (object []byte, tip Tip, err error) {
	h := header{
		Previous: p.Previous, Incarnation: p.Incarnation, From: p.From, To: p.To,
		Time: p.Time.UTC(), Begin: p.Begin, End: p.End,
	}
	var sealed []byte
	if len(p.Log) > 0 {
		if h.Log, sealed, err = c.seal(p.Log); err != nil {
			return nil, Tip{}, err
		}
	}
	if err := h.check(); err != nil {
		return nil, Tip{}, err
	}
	payload, err := json.Marshal(h)
	if err != nil {
		return nil, Tip{}, err
	}
	signed, err := c.ring.Sign(c.scope(p.Key()), payload)
	if err != nil {
		return nil, Tip{}, err
	}
	if len(signed) > MaxHeader {
		return nil, Tip{}, fmt.Errorf("its header would have %d bytes, more than %d", len(signed), MaxHeader)
	}
	object = assemble(signed, sealed)
	return object, tipOf(p, object), nil
}

// seal compresses and encrypts a log.
func (c *codec) seal(log []byte) (*body, []byte, error) {
	if c.keys == nil {
		return nil, nil, errors.New("no data keys were given to write a log with")
	}
	b := &body{Size: len(log), DataKey: c.wrapped, Salt: make([]byte, saltSize)}
	if _, err := io.ReadFull(c.random, b.Salt); err != nil {
		return nil, nil, fmt.Errorf("make a salt: %w", err)
	}
	aead, err := c.keys.PartAEAD(b.Salt)
	if err != nil {
		return nil, nil, err
	}
	packed := c.encoder.EncodeAll(log, make([]byte, 0, len(log)/2))
	sealed := aead.Seal(nil, make([]byte, aead.NonceSize()), packed, sealedAs)
	b.Digest = digest(sealed)
	return b, sealed, nil
}

// decode reads an object that has a part's key, and all that the part claims is
// verified, but for its place in the chain.
func (c *codec) decode(source string, id ID, sequence uint64, object []byte) (Part, Tip, error) {
	p, sealed, log, err := c.open(source, id, sequence, object)
	if err != nil {
		return Part{}, Tip{}, err
	}
	if log != nil {
		if p.Log, err = c.unseal(log, sealed); err != nil {
			return Part{}, Tip{}, err
		}
	} else if len(sealed) > 0 {
		return Part{}, Tip{}, fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	return p, tipOf(&p, object), nil
}

// open reads and verifies a part's header.
func (c *codec) open(source string, id ID, sequence uint64, object []byte) (p Part, sealed []byte, log *body, err error) {
	signed, sealed, _, err := split(object)
	if err != nil {
		return Part{}, nil, nil, err
	}
	payload, err := c.ring.Verify(c.scope(Key(source, id, sequence)), signed)
	if err != nil {
		return Part{}, nil, nil, err
	}
	var h header
	if err := json.Unmarshal(payload, &h); err != nil {
		return Part{}, nil, nil, fmt.Errorf("%w: its header cannot be read: %w", ErrDamaged, err)
	}
	if err := h.check(); err != nil {
		return Part{}, nil, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return Part{
		Source: source, Stream: id, Sequence: sequence, Previous: h.Previous, Incarnation: h.Incarnation,
		From: h.From, To: h.To, Time: h.Time, Begin: h.Begin, End: h.End,
	}, sealed, h.Log, nil
}

// unseal decrypts and decompresses a log.
func (c *codec) unseal(b *body, sealed []byte) ([]byte, error) {
	if digest(sealed) != b.Digest {
		return nil, fmt.Errorf("%w: its log was changed or cut short", ErrDamaged)
	}
	keys, err := c.ring.Unwrap(b.DataKey, c.cluster)
	if err != nil {
		return nil, err
	}
	aead, err := keys.PartAEAD(b.Salt)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	packed, err := aead.Open(nil, make([]byte, aead.NonceSize()), sealed, sealedAs)
	if err != nil {
		return nil, fmt.Errorf("%w: its log cannot be decrypted", ErrDamaged)
	}
	log, err := c.decoder.DecodeAll(packed, make([]byte, 0, b.Size))
	if err != nil {
		return nil, fmt.Errorf("%w: decompress its log: %w", ErrDamaged, err)
	}
	if len(log) != b.Size {
		return nil, fmt.Errorf("%w: its log has %d bytes instead of %d", ErrDamaged, len(log), b.Size)
	}
	return log, nil
}

func tipOf(p *Part, object []byte) Tip {
	return Tip{Sequence: p.Sequence, Digest: digest(object), To: p.To, Time: p.Time.UTC()}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

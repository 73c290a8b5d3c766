package stream

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The beginning of a part.
const (
	magic      = "USPART"
	version    = 1
	prefixSize = len(magic) + 2 + 4

	// MaxHeader is the most that a part's header measures, in bytes: what it says of its
	// stream is most of it.
	MaxHeader = 256 << 10
	// maxBody is the most that a log becomes: zstd adds three bytes to 128 KiB at the most.
	maxBody = MaxLog + MaxLog>>8 + 1<<10
	// maxObject is the most that a part measures.
	maxObject = int64(prefixSize + MaxHeader + maxBody)
)

// header is what a part says of itself, besides what its key says.
type header struct {
	Previous    string          `json:"previous,omitempty"`
	Incarnation string          `json:"incarnation"`
	From        Position        `json:"from"`
	To          Position        `json:"to"`
	Time        time.Time       `json:"time,omitzero"`
	Begin       json.RawMessage `json:"begin,omitempty"`
	End         *End            `json:"end,omitempty"`
	Log         *body           `json:"log,omitempty"`
}

// body is what a header says of the log behind it.
type body struct {
	Size    int    `json:"size"`     // of the log
	DataKey string `json:"data_key"` // wrapped
	Salt    []byte `json:"salt"`
	Digest  string `json:"digest"` // SHA-256 of what lies behind the header
}

// check refuses what no writer makes.
func (h *header) check() error {
	switch {
	case h.End != nil && h.Log != nil:
		return errors.New("it ends the stream, and has a log")
	case h.End != nil && h.From != h.To:
		return errors.New("it ends the stream, and goes on")
	case h.End == nil && h.Log == nil:
		return errors.New("it has neither a log nor an end")
	case h.Log != nil && h.From >= h.To:
		return fmt.Errorf("its log goes from position %d to %d", h.From, h.To)
	case h.Log != nil && (h.Log.Size <= 0 || h.Log.Size > MaxLog):
		return fmt.Errorf("its log has %d bytes, and can have 1 to %d", h.Log.Size, MaxLog)
	}
	return nil
}

// assemble puts a part together.
func assemble(signed, sealed []byte) []byte {
	object := make([]byte, 0, prefixSize+len(signed)+len(sealed))
	object = append(object, magic...)
	object = binary.LittleEndian.AppendUint16(object, version)
	object = binary.LittleEndian.AppendUint32(object, uint32(len(signed)))
	object = append(object, signed...)
	return append(object, sealed...)
}

// errShort: more of the part is needed to see its header.
var errShort = errors.New("it was cut short")

// split takes a part apart, of which this is the beginning at least. size is of the
// header; errShort where the beginning does not have all of it.
func split(object []byte) (signed, sealed []byte, size int, err error) {
	if len(object) < prefixSize {
		return nil, nil, 0, fmt.Errorf("%w: %w", ErrDamaged, errShort)
	}
	if string(object[:len(magic)]) != magic {
		return nil, nil, 0, fmt.Errorf("%w: it does not begin as a part does", ErrDamaged)
	}
	switch v := binary.LittleEndian.Uint16(object[len(magic):]); {
	case v > version:
		return nil, nil, 0, fmt.Errorf("%w: it has format %d, and this program reads up to %d: upgrade Understudy here", ErrFormat, v, version)
	case v < version:
		return nil, nil, 0, fmt.Errorf("%w: it has format %d, and this program reads from %d on", ErrFormat, v, version)
	}
	size = int(binary.LittleEndian.Uint32(object[len(magic)+2:]))
	if size > MaxHeader {
		return nil, nil, 0, fmt.Errorf("%w: its header has %d bytes, more than %d", ErrDamaged, size, MaxHeader)
	}
	rest := object[prefixSize:]
	if len(rest) < size {
		return nil, nil, size, fmt.Errorf("%w: %w", ErrDamaged, errShort)
	}
	return rest[:size], rest[size:], size, nil
}

package stream

import (
	"encoding/json"
	"time"
)

// MaxLog is the most log that a part holds, in bytes.
const MaxLog = 4 << 20

// Life is the age at which parts expire.
const Life = 7 * 24 * time.Hour

// Tip is a part as its successor names it. A Tip whose Sequence is 0 is what the first
// part follows: its To is where the stream begins, 0 where that is not known.
type Tip struct {
	Sequence uint64    `json:"sequence"`
	Digest   string    `json:"digest,omitempty"` // SHA-256 of the object, hex
	To       Position  `json:"to"`
	Time     time.Time `json:"time,omitzero"` // the active's clock when the source was at To
}

// Part is one object of a stream.
type Part struct {
	Source      string
	Stream      ID
	Sequence    uint64
	Previous    string // digest of the part before; "" of the first
	Incarnation string // of who wrote it
	From, To    Position
	Time        time.Time       // the active's clock when the source was at To
	Begin       json.RawMessage // of the stream: what a reader of the kind must know
	End         *End            // not nil: it closes the stream for ever, and has no log
	Log         []byte
}

// Key is the part's key in the bucket.
func (p *Part) Key() string { return Key(p.Source, p.Stream, p.Sequence) }

// End says by what a stream was ended.
type End struct {
	Lease string `json:"lease,omitempty"` // of the promotion; "" where the active ended it itself
	Head  string `json:"head,omitempty"`  // version of the head that the promotion was about to replace
	By    string `json:"by,omitempty"`    // incarnation of who ended it
}

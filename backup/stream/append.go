package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// Append writes the part behind a tip, and returns what the next one is to name. p needs
// what its source knows: Source, Stream, Incarnation, To, Time, Begin, and Log or End. The
// rest follows from the tip.
//
// While the outcome of the write is not known it is written again, until ctx ends.
// Whatever error came of it, the same log may be appended again, cut as it was or
// otherwise: what an earlier attempt or an earlier process of this host has written of
// it is adopted. So the tip that is returned can be of a part that ends before p does:
// the rest of the log comes next. Other outcomes are an AheadError, an EndedError, a
// ForkedError, and the errors of a part that is not good.
func (c *Chain) Append(ctx context.Context, after Tip, p Part) (Tip, error) {
	p = p.follow(after)
	object, tip, err := c.codec.encode(&p)
	if err != nil {
		return Tip{}, fmt.Errorf("make part %s: %w", p.Key(), err)
	}
	there, err := c.create(ctx, p.Key(), object)
	if err != nil {
		return Tip{}, err
	}
	if bytes.Equal(there, object) {
		return tip, nil
	}
	return c.adopt(after, &p, there)
}

// adopt takes in what has the name of a part that was to be written.
func (c *Chain) adopt(after Tip, own *Part, object []byte) (Tip, error) {
	there, tip, err := c.take(own.Source, own.Stream, after, object)
	if err != nil {
		return Tip{}, err
	}
	if there.End != nil {
		if own.End != nil && *own.End == *there.End {
			return tip, nil
		}
		return Tip{}, &EndedError{Source: own.Source, Stream: own.Stream, Tip: tip, End: *there.End}
	}
	n := min(len(own.Log), len(there.Log))
	same := bytes.Equal(own.Log[:n], there.Log[:n]) && sameBegin(own.Begin, there.Begin)
	switch {
	case same && len(there.Log) > n && there.To > own.To:
		return Tip{}, &AheadError{Part: there, Tip: tip}
	case same && len(there.Log) == n && (there.To == own.To) == (len(own.Log) == n) && there.To <= own.To:
		return tip, nil
	}
	return Tip{}, &ForkedError{Source: own.Source, Stream: own.Stream, Tip: tip, Incarnation: there.Incarnation}
}

// sameBegin compares what two parts say of their stream, if both do.
func sameBegin(own, there json.RawMessage) bool {
	var compact bytes.Buffer
	return len(own) == 0 || len(there) == 0 ||
		json.Compact(&compact, own) == nil && bytes.Equal(compact.Bytes(), there)
}

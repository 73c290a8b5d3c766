package stream

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
)

// Streams lists the streams of a source of which there is a part, the oldest first.
func (c *Chain) Streams(ctx context.Context, source string) ([]ID, error) {
	var all []ID
	folder := path.Dir(path.Dir(Key(source, ID{}, 1))) + "/"
	for after := ""; ; {
		key, err := c.firstAfter(ctx, folder, after)
		if err != nil {
			return nil, fmt.Errorf("list the streams of source %s: %w", source, err)
		}
		if key == "" {
			break
		}
		name := path.Dir(key)
		if id, err := ParseID(path.Base(name)); err == nil { // else it is nobody's
			all = append(all, id)
		}
		after = name + "/~" // behind all of its parts
	}
	slices.SortFunc(all, ID.Compare)
	return all, nil
}

// firstAfter is the first key in a folder behind another one; "" for none.
func (c *Chain) firstAfter(ctx context.Context, folder, after string) (string, error) {
	for attrs, err := range c.cfg.Store.List(ctx, folder, after) {
		return attrs.Key, err
	}
	return "", nil
}

// Run is a part of a stream without a hole: what comes after a position.
type Run struct {
	// Before is the tip behind which the position lies.
	Before Tip
	// Last is the last part, without its log.
	Last Part
}

// RunFrom finds the parts that hold a stream from a position on, as far as they are in the
// bucket without a hole: up to one that ends behind limit, or to the last one. ErrGone: the
// part with the position has expired, the stream begins later, or ends before.
//
// It reads some forty headers in a stream of a million parts, and lists the parts that it
// finds.
func (c *Chain) RunFrom(ctx context.Context, source string, id ID, at, limit Position) (Run, error) {
	first, err := c.oldest(ctx, source, id)
	if err != nil {
		return Run{}, err
	}
	gone := fmt.Errorf("the log of source %s from position %d on (stream %s) %w", source, at, id, ErrGone)
	if first.Sequence == 0 || first.From > at {
		return Run{}, gone
	}
	found, err := c.withPosition(ctx, first, at)
	if err != nil {
		return Run{}, err
	}
	if found.To < at {
		return Run{}, gone
	}
	run := Run{Before: Tip{Sequence: found.Sequence - 1, Digest: found.Previous, To: found.From}, Last: found}
	run.Last, err = c.lastOf(ctx, found, limit)
	return run, err
}

// oldest is the oldest part of a stream that there is, without its log.
func (c *Chain) oldest(ctx context.Context, source string, id ID) (Part, error) {
	key, err := c.firstAfter(ctx, path.Dir(Key(source, id, 1))+"/", "")
	if err != nil || key == "" {
		return Part{}, err
	}
	sequence, err := strconv.ParseUint(path.Base(key), 10, 64)
	if err != nil {
		return Part{}, fmt.Errorf("part %s: its name is not that of a part", key)
	}
	return c.head(ctx, source, id, sequence)
}

// withPosition finds the part that a position lies in; where there is none behind the
// position, it is the last one.
func (c *Chain) withPosition(ctx context.Context, low Part, at Position) (Part, error) {
	if low.To > at {
		return low, nil
	}
	var found Part // at high; zero: there is none
	high := low.Sequence
	look := func(sequence uint64) (beyond bool, err error) {
		p, err := c.head(ctx, low.Source, low.Stream, sequence)
		switch {
		case errors.Is(err, ErrNotYet):
			high, found = sequence, Part{}
		case err != nil:
			return false, err
		case p.To > at:
			high, found = sequence, p
		default:
			low = p
		}
		return high == sequence, nil
	}
	for step := uint64(1); ; step *= 2 {
		if beyond, err := look(low.Sequence + step); err != nil {
			return low, err
		} else if beyond {
			break
		}
	}
	for high-low.Sequence > 1 {
		if _, err := look(low.Sequence + (high-low.Sequence)/2); err != nil {
			return low, err
		}
	}
	if found.Sequence == 0 {
		return low, nil
	}
	return found, nil
}

// sometimes is after how many parts it is looked whether they are enough.
const sometimes = 1000

// lastOf is the last part behind one, as far as there is no hole, without its log.
func (c *Chain) lastOf(ctx context.Context, p Part, limit Position) (Part, error) {
	last := p.Sequence
	for attrs, err := range c.cfg.Store.List(ctx, path.Dir(p.Key())+"/", p.Key()) {
		if err != nil {
			return p, fmt.Errorf("list stream %s of source %s: %w", p.Stream, p.Source, err)
		}
		if attrs.Key != Key(p.Source, p.Stream, last+1) {
			break
		}
		if last++; (last-p.Sequence)%sometimes == 0 {
			is, err := c.head(ctx, p.Source, p.Stream, last)
			if err != nil || is.To > limit {
				return is, err
			}
		}
	}
	if last == p.Sequence {
		return p, nil
	}
	return c.head(ctx, p.Source, p.Stream, last)
}

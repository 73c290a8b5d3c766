package pack

import (
	"container/list"
	"context"
	"sort"
	"sync"

	"github.com/understudy-ha/understudy/backup/seal"
)

// An extent is what is read of a pack at a time: the frames that begin within
// one extentSize of it. Chunks that were written together are read together.
const (
	extentSize   = 2 << 20
	extentShift  = 21
	extentsKept  = 12 // in memory
	extentsAhead = 4  // being read at a time
)

// place names an extent.
type place struct {
	section int
	part    uint32
}

func placeOf(section int, r record) place { return place{section, r.offset >> extentShift} }

// extent is a part of a pack, in memory.
type extent struct {
	at        place
	ready     chan struct{} // closed when the rest is set
	err       error
	abandoned bool // whoever asked for it has gone
	aead      seal.AEAD
	start     uint32 // of data in the pack
	data      []byte

	once sync.Once // of reading ahead
}

// frame gives the frame of a chunk in the extent.
func (e *extent) frame(r record) []byte { return e.data[r.offset-e.start:][:r.length] }

// extents reads extents and keeps those used last. It is safe for concurrent
// use: an extent that several readers want is read once.
type extents struct {
	codec *codec
	index *Index
	packs Packs
	loads chan struct{} // a token for each extent that is being read

	mu   sync.Mutex
	byAt map[place]*list.Element // of *extent
	used *list.List              // the last used first
}

func newExtents(c *codec, x *Index, packs Packs) *extents {
	return &extents{
		codec: c, index: x, packs: packs, loads: make(chan struct{}, extentsAhead),
		byAt: make(map[place]*list.Element), used: list.New(),
	}
}

// get waits, as long as wait lasts, for an extent. Reading goes on with base,
// because what one stream leaves is likely what the next one wants.
func (c *extents) get(wait, base context.Context, at place) (*extent, error) {
	for {
		e := c.want(base, at)
		// What was written next is likely wanted next.
		e.once.Do(func() {
			if next, ok := c.next(at); ok {
				c.want(base, next)
			}
		})
		select {
		case <-e.ready:
		case <-wait.Done():
			return nil, context.Cause(wait)
		}
		if e.err == nil {
			return e, nil
		}
		c.forget(e) // so that another try reads it again
		if !e.abandoned || base.Err() != nil {
			return nil, e.err
		}
	}
}

// want gives an extent, which is perhaps still being read.
func (c *extents) want(ctx context.Context, at place) *extent {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byAt[at]; ok {
		c.used.MoveToFront(el)
		return el.Value.(*extent)
	}
	e := &extent{at: at, ready: make(chan struct{})}
	c.byAt[at] = c.used.PushFront(e)
	if c.used.Len() > extentsKept {
		oldest := c.used.Remove(c.used.Back()).(*extent)
		delete(c.byAt, oldest.at)
	}
	go c.load(ctx, e)
	return e
}

func (c *extents) forget(e *extent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byAt[e.at]; ok && el.Value == e {
		c.used.Remove(el)
		delete(c.byAt, e.at)
	}
}

// next is the extent that was written after one: in the same pack, or in the
// next pack of the same kind.
func (c *extents) next(at place) (place, bool) {
	s := c.index.sections[at.section]
	if n := c.after(s, at.part); n < s.count() {
		return placeOf(at.section, c.index.record(s, n)), true
	}
	for i := at.section + 1; i < len(c.index.sections); i++ {
		if c.index.sections[i].Meta == s.Meta {
			return placeOf(i, c.index.record(c.index.sections[i], 0)), true
		}
	}
	return place{}, false
}

// after counts the records of a section that begin in a part up to this one.
func (c *extents) after(s section, part uint32) int {
	return sort.Search(s.count(), func(n int) bool { return c.index.record(s, n).offset>>extentShift > part })
}

// load reads an extent.
func (c *extents) load(ctx context.Context, e *extent) {
	defer close(e.ready)
	select {
	case c.loads <- struct{}{}:
		defer func() { <-c.loads }()
	case <-ctx.Done():
		e.err, e.abandoned = context.Cause(ctx), true
		return
	}
	s := c.index.sections[e.at.section]
	first, end := 0, c.after(s, e.at.part)
	if e.at.part > 0 {
		first = c.after(s, e.at.part-1)
	}
	e.start = c.index.record(s, first).offset
	if e.aead, e.err = c.codec.aead(s.salt); e.err != nil {
		return
	}
	e.data = make([]byte, c.index.record(s, end-1).end()-e.start)
	if err := c.packs.ReadPack(ctx, s.Digest, int64(e.start), e.data); err != nil {
		e.err, e.abandoned = packError(s.Digest, err), ctx.Err() != nil
	}
}

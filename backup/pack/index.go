package pack

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"time"
)

// Index says where every chunk of a backup is. It is immutable and safe for
// concurrent use. It takes about 52 bytes of memory for each chunk.
type Index struct {
	ref      IndexRef
	own      []located // the index's own chunks, of all levels
	raw      []byte    // as stored
	sections []section
	slots    []uint32 // hash table: quarter of the record's place in raw; 0 is free
}

// section is the part of an index that describes one pack.
type section struct {
	packHead
	start, end int  // in raw
	missing    bool // the pack is known to be gone
}

// located is a chunk with all that is needed to read it.
type located struct {
	packHead
	record
}

// parseIndex reads the bytes of an index.
func parseIndex(ref IndexRef, own []located, raw []byte) (*Index, error) {
	x := &Index{ref: ref, own: own, raw: raw}
	if len(raw) < len(indexMagic) || string(raw[:len(indexMagic)]) != indexMagic {
		return nil, fmt.Errorf("%w: it is not an index of a format that is known here", ErrCorrupt)
	}
	records := 0
	for at := len(indexMagic); at < len(raw); {
		if len(raw)-at < sectionSize {
			return nil, fmt.Errorf("%w: it ends within the head of a pack", ErrCorrupt)
		}
		head, n := readHead(raw[at:])
		end := at + sectionSize + n*recordSize
		if n <= 0 || end > len(raw) || end < at {
			return nil, fmt.Errorf("%w: %s has %d chunks", ErrCorrupt, head.Digest.Key(), n)
		}
		x.sections = append(x.sections, section{packHead: head, start: at, end: end})
		records += n
		at = end
	}
	return x, x.hash(records)
}

// hash builds the table. Of a chunk that is in two packs, the later place wins.
func (x *Index) hash(records int) error {
	size := 2 // one slot at least stays free, or a search would not end
	for size < records*3/2 {
		size *= 2
	}
	x.slots = make([]uint32, size)
	for _, s := range x.sections {
		end := uint32(packHeaderSize)
		for at := s.start + sectionSize; at < s.end; at += recordSize {
			r := readRecord(x.raw[at:])
			if err := r.check(); err != nil {
				return fmt.Errorf("%s: %w", s.Digest.Key(), err)
			}
			if r.offset < end || int64(r.end()) > s.Size {
				return fmt.Errorf("%w: chunk %s lies outside its place in %s", ErrCorrupt, r.id, s.Digest.Key())
			}
			end = r.end()
			x.slots[x.slot(r.id)] = uint32(at / 4)
		}
	}
	return nil
}

// slot is where in the table the chunk is, or would be. Ids are keyed hashes,
// so a part of one serves as its hash.
func (x *Index) slot(id ID) int {
	mask := len(x.slots) - 1
	for i := int(binary.LittleEndian.Uint32(id[:])) & mask; ; i = (i + 1) & mask {
		at := int(x.slots[i]) * 4
		if at == 0 || ID(x.raw[at:at+len(id)]) == id {
			return i
		}
	}
}

// find gives the section and the record of a chunk.
func (x *Index) find(id ID) (int, record, bool) {
	if len(x.slots) == 0 {
		return 0, record{}, false
	}
	at := int(x.slots[x.slot(id)]) * 4
	if at == 0 {
		return 0, record{}, false
	}
	i := sort.Search(len(x.sections), func(i int) bool { return x.sections[i].end > at })
	return i, readRecord(x.raw[at:]), true
}

// count is how many records a section has.
func (s section) count() int { return (s.end - s.start - sectionSize) / recordSize }

// record is the nth record of a section.
func (x *Index) record(s section, n int) record {
	return readRecord(x.raw[s.start+sectionSize+n*recordSize:])
}

// Packs lists the packs that the backup needs, the index's own included, each
// once.
func (x *Index) Packs() []Info {
	infos := make([]Info, 0, len(x.sections)+len(x.own))
	for _, s := range x.sections {
		infos = append(infos, s.Info)
	}
	seen := make(map[Digest]bool, len(x.own))
	for _, l := range x.own {
		if !seen[l.Digest] {
			seen[l.Digest] = true
			infos = append(infos, l.Info)
		}
	}
	return infos
}

// Chunks counts the chunks in the index.
func (x *Index) Chunks() int {
	n := 0
	for _, s := range x.sections {
		n += s.count()
	}
	return n
}

// Without gives the index without some packs, which are gone: a Writer counts
// their chunks as unknown.
func (x *Index) Without(gone map[Digest]bool) *Index {
	touched := func(l located) bool { return gone[l.Digest] }
	if !slices.ContainsFunc(x.sections, func(s section) bool { return gone[s.Digest] }) && !slices.ContainsFunc(x.own, touched) {
		return x
	}
	y := *x
	y.sections = slices.Clone(x.sections)
	for i := range y.sections {
		y.sections[i].missing = y.sections[i].missing || gone[y.sections[i].Digest]
	}
	y.own = slices.DeleteFunc(slices.Clone(x.own), touched)
	y.ref = IndexRef{} // no longer what is to be stored
	return &y
}

// Confirm gives the index with the times that the store gave for its packs
// just now. A pack that is not in times is gone: a Writer counts its chunks as
// unknown. Times that differ by less than a minute count as the same, because
// stores round them in different ways.
func (x *Index) Confirm(times map[Digest]time.Time) *Index {
	y := *x
	y.sections = slices.Clone(x.sections)
	y.own = slices.Clone(x.own)
	changed := false
	confirm := func(info *Info) bool {
		t, ok := times[info.Digest]
		if ok && t.Sub(info.Time).Abs() < time.Minute {
			return true
		}
		changed = true
		info.Time = t.UTC().Truncate(timeUnit)
		return ok
	}
	for i := range y.sections {
		y.sections[i].missing = !confirm(&y.sections[i].Info)
	}
	y.own = slices.DeleteFunc(y.own, func(l located) bool { return !confirm(&l.Info) })
	if !changed {
		return x
	}
	y.ref = IndexRef{} // no longer what is stored
	y.raw = slices.Clone(x.raw)
	for _, s := range y.sections {
		putTime(y.raw[s.start:], s.Time)
	}
	return &y
}

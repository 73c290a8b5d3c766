package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// writeIndex stores the backup's index, or gives the previous one's reference
// when that is still true. It also lists the index's chunks, of all levels.
func (w *Writer) writeIndex(ctx context.Context) (IndexRef, []located, error) {
	if w.unchanged() {
		return w.known.ref, w.known.own, nil
	}
	// What the previous index has need not be stored again.
	stored := make(map[ID]located, len(w.known.own))
	for _, l := range w.known.own {
		if !w.due(l.Info) {
			stored[l.id] = l
		}
	}
	level, size, err := w.writeLevel(ctx, w.indexReader(), stored)
	if err != nil {
		return IndexRef{}, nil, fmt.Errorf("write the backup's index: %w", err)
	}
	own := slices.Clone(level)
	depth := 0
	for ; len(level) > maxLocated; depth++ {
		if level, _, err = w.writeLevel(ctx, &locatedReader{chunks: level}, stored); err != nil {
			return IndexRef{}, nil, fmt.Errorf("write the list of the index's chunks: %w", err)
		}
		own = append(own, level...)
	}
	return newIndexRef(size, depth, level), own, nil
}

// unchanged reports whether the previous index is this backup's too.
func (w *Writer) unchanged() bool {
	if len(w.known.ref.Chunks) == 0 || len(w.data.done)+len(w.meta.done) > 0 {
		return false
	}
	for i := range w.live {
		if !w.live[i].Load() {
			return false
		}
	}
	for _, l := range w.known.own {
		if w.due(l.Info) {
			return false
		}
	}
	return true
}

// indexReader yields the backup's index: the sections of the previous one whose
// packs are still in use, as they are, then the new packs'.
func (w *Writer) indexReader() io.Reader {
	parts := [][]byte{[]byte(indexMagic)}
	for i, s := range w.known.sections {
		if w.live[i].Load() {
			parts = append(parts, w.known.raw[s.start:s.end])
		}
	}
	for _, p := range []*packer{w.data, w.meta} {
		for _, d := range p.done {
			parts = append(parts, d.append(nil, d.count), d.records)
		}
	}
	return &partsReader{parts: parts}
}

// writeLevel cuts what r yields into chunks, stores those that stored does not
// have, and says where each of them is.
func (w *Writer) writeLevel(ctx context.Context, r io.Reader, stored map[ID]located) ([]located, int64, error) {
	cutter := w.cutters[Metadata]
	chunker, err := cutter.open(r)
	if err != nil {
		return nil, 0, err
	}
	defer cutter.close(chunker)
	type placed struct {
		located
		pack *storedPack // of a chunk that is new
	}
	var level []placed
	fresh := make(map[ID]placed)
	var size int64
	scratch := make([]byte, 0, maxChunkSize)
	for last := false; !last; {
		if err := w.failed(ctx); err != nil {
			return nil, 0, err
		}
		chunk, err := chunker.Next()
		if last = errors.Is(err, io.EOF); err != nil && !last {
			return nil, 0, err
		}
		if len(chunk) == 0 {
			continue
		}
		size += int64(len(chunk))
		id := w.codec.id(chunk)
		if l, ok := stored[id]; ok {
			level = append(level, placed{located: l})
			continue
		}
		p, ok := fresh[id]
		if !ok {
			data, raw := w.codec.compress(chunk, scratch)
			if p.pack, p.record, err = w.index.add(w.ctx, id, data, raw, len(chunk)); err != nil {
				return nil, 0, err
			}
			fresh[id] = p
		}
		level = append(level, p)
	}
	if err := w.settle(w.index); err != nil {
		return nil, 0, err
	}
	list := make([]located, len(level))
	for i, p := range level {
		if p.pack != nil {
			p.packHead = p.pack.packHead
		}
		list[i] = p.located
	}
	return list, size, nil
}

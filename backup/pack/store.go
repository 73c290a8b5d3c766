package pack

// store makes sure that the chunk is in a pack. With help, it may hand the work
// to a goroutine; when all helpers are busy, the caller does it, so that there
// is never a queue.
func (w *Writer) store(id ID, chunk []byte, p Profile, help bool) error {
	if w.keep(id) || !w.claim(id) {
		return nil
	}
	w.chunks.Add(1)
	w.created.Add(int64(len(chunk)))
	packer := w.data
	if p.meta() {
		packer = w.meta
	}
	if help {
		select {
		case w.helper <- struct{}{}:
			buf := w.bufs.Get().(*[]byte)
			*buf = append((*buf)[:0], chunk...)
			w.jobs.Go(func() {
				_ = w.pack(id, *buf, packer) // has failed the Writer
				w.bufs.Put(buf)
				<-w.helper
			})
			return nil
		default:
		}
	}
	return w.pack(id, chunk, packer)
}

// pack compresses and packs a chunk. A failure is one of the whole Writer: the
// chunk is claimed, and others rely on it.
func (w *Writer) pack(id ID, chunk []byte, p *packer) error {
	scratch := w.bufs.Get().(*[]byte)
	defer w.bufs.Put(scratch)
	data, raw := w.codec.compress(chunk, *scratch)
	if _, _, err := p.add(w.ctx, id, data, raw, len(chunk)); err != nil {
		w.cancel(err)
		return err
	}
	return nil
}

// keep marks the pack of a known chunk as used, or reports false.
func (w *Writer) keep(id ID) bool {
	i, _, ok := w.known.find(id)
	if !ok || !w.usable[i] {
		return false
	}
	if !w.live[i].Load() {
		w.live[i].Store(true)
	}
	return true
}

// claim reports whether the chunk is new in this backup, once.
func (w *Writer) claim(id ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.fresh[id.short()]; ok {
		return false
	}
	w.fresh[id.short()] = struct{}{}
	return true
}

// claimed reports whether the chunk was written in this backup.
func (w *Writer) claimed(id ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.fresh[id.short()]
	return ok
}

// Keep carries a depth-0 stream of the previous backup over, unread. It
// reports false, and does nothing, when a chunk of it is unknown or due for
// renewal: then it must be written again.
func (w *Writer) Keep(s Stream) bool {
	if s.Depth != 0 {
		return false
	}
	for _, id := range s.Chunks {
		if i, _, ok := w.known.find(id); ok && w.usable[i] {
			continue
		}
		if !w.claimed(id) {
			return false
		}
	}
	for _, id := range s.Chunks {
		w.keep(id)
	}
	w.logical.Add(s.Size)
	return true
}

package pack

import (
	"context"
	"slices"
)

// Close stores what is unfinished, then the backup's index, waits for all, and
// returns where the index is and what was done. When nothing was new and no
// pack fell out of use, nothing is stored and the answer is the previous
// backup's.
func (w *Writer) Close(ctx context.Context) (IndexRef, Stats, error) {
	defer w.cancel(ErrClosed)
	stop := context.AfterFunc(ctx, func() { w.cancel(context.Cause(ctx)) })
	defer stop()
	if err := w.settle(w.data, w.meta); err != nil {
		return IndexRef{}, Stats{}, err
	}
	ref, own, err := w.writeIndex(ctx)
	if err != nil {
		return IndexRef{}, Stats{}, err
	}
	return ref, w.stats(own), nil
}

// settle stores what packers hold and waits for it. New chunks may still be in
// the hands of helpers, so these come first.
func (w *Writer) settle(packers ...*packer) error {
	w.jobs.Wait()
	for _, p := range packers {
		p.flush(w.ctx)
	}
	w.jobs.Wait()
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return nil
}

// stats sums up, given the chunks of the index.
func (w *Writer) stats(index []located) Stats {
	s := Stats{Logical: w.logical.Load(), New: w.created.Load(), Chunks: w.chunks.Load()}
	refer := func(info Info) {
		if s.Oldest.Size == 0 || info.Time.Before(s.Oldest.Time) {
			s.Oldest = info
		}
	}
	for _, p := range slices.Concat(w.data.done, w.meta.done, w.index.done) {
		s.Packs = append(s.Packs, p.Info)
		s.Stored += p.Size
		refer(p.Info)
	}
	for i := range w.live {
		if w.live[i].Load() {
			refer(w.known.sections[i].Info)
		}
	}
	for _, l := range index {
		refer(l.Info)
	}
	return s
}

// Logical counts the bytes given to Write or kept so far.
func (w *Writer) Logical() int64 { return w.logical.Load() }

// Abort waits for uploads under way and gives up.
func (w *Writer) Abort() {
	w.cancel(ErrClosed)
	w.jobs.Wait()
}

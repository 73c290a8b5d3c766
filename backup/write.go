package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
)

// ErrExpiring says that what a backup reuses would expire before the backup
// does: the clock by which packs were judged differs from the store's. The
// backup must not be named by a head; set Order.StoreTime right and write
// again.
var ErrExpiring = errors.New("the backup refers to packs that expire before it")

// maxNewPacks is how many new packs a manifest lists.
const maxNewPacks = 32

// Write makes a backup: packs first, then the manifest (create-if-absent). The
// backup does not exist until a head names it.
//
// It starts afresh, which uploads everything, when the previous backup's
// objects have expired or are damaged, or its data keys were replaced. A failure of the hook
// after the snapshot does not fail the backup; it is a warning in the manifest.
// When no chunk is new and no pack is due for renewal, the manifest is the only
// request, provided that PreviousManifest is given and Local has the metadata.
func (r *Repository) Write(ctx context.Context, o Order) (Ref, *Manifest, error) {
	o, err := o.complete()
	if err != nil {
		return Ref{}, nil, fmt.Errorf("write backup: %w", err)
	}
	w := &writing{r: r.Current(), all: r, o: o, warnings: slices.Clone(o.Notes), progress: progress{tell: o.Progress}}
	ref, m, err := w.run(ctx)
	if errors.Is(err, ErrMissing) { // what is in them has to be read again
		w = &writing{r: r.Current(), all: r, o: w.o, warnings: slices.Clone(o.Notes), progress: progress{tell: o.Progress}}
		w.o.CheckPacks = 0
		ref, m, err = w.run(ctx)
	}
	if err != nil {
		return Ref{}, nil, fmt.Errorf("write backup: %w", err)
	}
	return ref, m, nil
}

// writing is one run of Write.
type writing struct {
	r        *Repository // of what is in the bucket now
	all      *Repository
	o        Order
	progress progress
	previous *Manifest // nil when there is none to build on
	reader   *pack.Reader
	index    *pack.Index
	packs    *pack.Writer
	warnings []string  // for people, about the backup as a whole
	checking *checking // nil: nobody looks whether the packs are there
	tried    *Manifest // of the backup before, as far as it could be read
}

func (w *writing) run(ctx context.Context) (Ref, *Manifest, error) {
	started := w.o.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		if w.checking != nil {
			<-w.checking.done
		}
	}()
	if err := w.openPrevious(ctx); err != nil {
		return Ref{}, nil, err
	}
	if err := w.startPacks(ctx); err != nil {
		return Ref{}, nil, err
	}
	var entries []source.Entry
	err, after := quiesced(ctx, w.o, func() (err error) {
		entries, err = w.dump(ctx)
		return err
	})
	if missing := w.checked(ctx); missing != nil { // also where that is why the dump failed
		err = missing
	}
	if err != nil {
		w.packs.Abort()
		return Ref{}, nil, errors.Join(err, after)
	}
	changed := w.previous == nil || differ(entries, w.previous.Sources)
	if w.o.OnlyIfChanged && !changed {
		w.packs.Abort()
		return *w.o.Previous, w.previous, nil
	}
	w.progress.step("store packs", w.packs.Logical(), 0)
	index, stats, err := w.packs.Close(ctx)
	if err != nil {
		return Ref{}, nil, err
	}
	m := w.manifest(started, entries, index, stats)
	m.Changed, m.OldestPack = changed, stats.Oldest.Time
	if after != nil {
		w.warnings = append(w.warnings, after.Error())
	}
	m.Warnings = shorten(w.warnings)
	return w.publish(ctx, m, stats)
}

// checked is ErrMissing when the packs that the backup builds on turned out not
// to be there.
func (w *writing) checked(ctx context.Context) error {
	c := w.checking
	if c == nil {
		return nil
	}
	<-c.done
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case c.err != nil: // the backup is as good as without the look
		w.o.Log.WarnContext(ctx, "it could not be looked whether packs are missing", "error", c.err)
		return nil //nolint:nilerr // it is told
	case len(c.missing) == 0:
		return nil
	}
	w.o.Missing = maps.Clone(w.o.Missing)
	if w.o.Missing == nil {
		w.o.Missing = make(map[pack.Digest]bool)
	}
	for _, p := range c.missing {
		w.o.Missing[p.Digest] = true
	}
	if w.o.Lost != nil {
		w.o.Lost(ctx, c.missing)
	}
	return fmt.Errorf("%w: %d", ErrMissing, len(c.missing))
}

// openPrevious opens what the backup is to build on.
func (w *writing) openPrevious(ctx context.Context) error {
	if w.o.Previous == nil {
		return nil
	}
	if w.o.Full {
		w.compareOnly(ctx)
		return nil
	}
	w.progress.step("read the previous backup", 0, 0)
	err := w.tryPrevious(ctx)
	gone := errors.Is(err, blobstore.ErrNotFound) || errors.Is(err, fs.ErrNotExist)
	damaged := errors.Is(err, pack.ErrCorrupt) || Damaged(err)
	if err == nil || !gone && !damaged {
		return err
	}
	w.previous, w.reader, w.index = nil, nil, nil
	w.tellNamed(ctx)
	if damaged {
		w.warnings = append(w.warnings, fmt.Sprintf("the backup before, %s, is damaged, so this one read and stored everything: %v", w.o.Previous.ID, err))
	}
	w.o.Log.Warn("the previous backup cannot be built on, so this one uploads everything",
		"previous", w.o.Previous.ID, "error", err)
	return nil
}

// compareOnly reads what the sources had: nothing else is needed of the backup
// before. One that cannot be read is the reason for this one.
func (w *writing) compareOnly(ctx context.Context) {
	if w.tried = w.o.PreviousManifest; w.tried != nil {
		return
	}
	m, err := w.r.Load(ctx, *w.o.Previous)
	if err != nil {
		w.o.Log.WarnContext(ctx, "the sources cannot be compared with what they were", "previous", w.o.Previous.ID, "error", err)
		return
	}
	w.tried = m
}

func (w *writing) tryPrevious(ctx context.Context) error {
	m := w.o.PreviousManifest
	if m == nil {
		var err error
		if m, err = w.r.Load(ctx, *w.o.Previous); err != nil {
			return err
		}
	}
	w.tried = m
	keys, err := w.r.Ring.Unwrap(m.DataKey, w.r.Cluster)
	if err != nil {
		return fmt.Errorf("open backup %s: %w", m.ID, err)
	}
	if !keys.Equal(w.o.Keys) {
		w.o.Log.Info("the data keys were replaced, so this backup uploads everything", "previous", m.ID)
		return nil
	}
	reader, index, err := w.r.Open(ctx, m, w.readPacks())
	if err != nil {
		return err
	}
	if w.o.FirstInEpoch {
		if index, err = w.r.confirm(ctx, index); err != nil {
			return err
		}
	}
	if err := w.readable(ctx, index); err != nil {
		return err
	}
	if err := w.extendLocks(ctx, index.Without(w.o.Missing)); err != nil {
		return err
	}
	if packs := index.Packs(); len(packs) <= w.o.CheckPacks {
		w.checking = w.r.check(ctx, packs)
	}
	w.previous, w.reader, w.index = m, reader, index.Without(w.o.Missing)
	return nil
}

// tellNamed tells which packs are missing of a backup before that cannot be
// opened, as far as its manifest names them.
func (w *writing) tellNamed(ctx context.Context) {
	if w.tried == nil || w.o.Lost == nil {
		return
	}
	missing, err := w.r.Missing(ctx, w.tried.Named())
	if err != nil {
		w.o.Log.WarnContext(ctx, "it could not be looked which packs are missing", "error", err)
	}
	if len(missing) > 0 {
		w.o.Lost(ctx, missing)
	}
}

// readable looks whether metadata that is missing from the bucket can be read
// near: a dump reads that of the backup before.
func (w *writing) readable(ctx context.Context, index *pack.Index) error {
	if len(w.o.Missing) == 0 {
		return nil
	}
	for _, p := range index.Packs() {
		if p.Meta && w.o.Missing[p.Digest] {
			if err := w.readPacks().ReadPack(ctx, p.Digest, p.Size-1, make([]byte, 1)); err != nil {
				return fmt.Errorf("%w: metadata of it (%s) is missing from the bucket: %w", fs.ErrNotExist, p.Digest.Key(), err)
			}
		}
	}
	return nil
}

// readPacks reads packs of the previous backup: metadata lies near.
func (w *writing) readPacks() pack.Packs {
	if w.o.Local == nil {
		return w.r.BucketPacks()
	}
	if mending, ok := w.o.Local.(pack.Mender); ok {
		return mending
	}
	return pack.FirstOf(w.o.Local, w.r.BucketPacks())
}

// confirm asks the store for the times of all packs of an index.
func (r *Repository) confirm(ctx context.Context, index *pack.Index) (*pack.Index, error) {
	var mu sync.Mutex
	times := make(map[pack.Digest]time.Time)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, info := range index.Packs() {
		group.Go(func() error {
			attrs, err := r.Store.Stat(ctx, info.Digest.Key())
			if errors.Is(err, blobstore.ErrNotFound) || err == nil && attrs.Size != info.Size {
				return nil // its chunks are written again
			}
			if err != nil {
				return fmt.Errorf("check the packs of the previous backup: %w", err)
			}
			mu.Lock()
			defer mu.Unlock()
			times[info.Digest] = attrs.Time
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return index.Confirm(times), nil
}

func (w *writing) startPacks(ctx context.Context) (err error) {
	now, rules := w.o.StoreTime(), w.o.rules()
	w.packs, err = pack.NewWriter(ctx, pack.WriterConfig{
		Cluster: w.r.Cluster, Keys: w.o.Keys, Known: w.index, Random: w.o.Random,
		Due: func(info pack.Info) bool { return rules.Due(info, now) },
		Put: w.putPack,
	})
	return err
}

// putPack stores a pack in the bucket, and, if it holds metadata, locally.
func (w *writing) putPack(ctx context.Context, info pack.Info, data []byte) (time.Time, error) {
	attrs, err := w.r.Store.Put(ctx, info.Digest.Key(), data, blobstore.Always.Locked(w.lock(w.o.rules().PackLife())).Hashed(info.Digest))
	if err != nil {
		return time.Time{}, err
	}
	if info.Meta && w.o.Local != nil {
		if err := w.o.Local.PutPack(ctx, info.Digest, data); err != nil {
			// The next backup will read it from the bucket.
			w.o.Log.WarnContext(ctx, "no local copy of a pack could be kept", "pack", info.Digest, "error", err)
		}
	}
	w.progress.done(w.packs.Logical())
	return attrs.Time, nil
}

// dump writes every source, one after the other: each uses all cores. Entries
// are in the order of the sources, which is not the one in which they are
// captured. It goes on when one has changed too much, so that all of them are
// named together.
func (w *writing) dump(ctx context.Context) ([]source.Entry, error) {
	entries := make([]source.Entry, len(w.o.Sources))
	var refused ChangedError
	for _, i := range captureOrder(w.o.Sources) {
		s := w.o.Sources[i]
		e, changes, err := w.dumpOne(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("dump %s %s: %w", s.Kind(), s.Name(), err)
		}
		if len(changes) > 0 {
			refused.Changes = append(refused.Changes, Change{Source: s.Name(), What: strings.Join(changes, "; ")})
		}
		entries[i] = e
	}
	if len(refused.Changes) > 0 {
		return nil, &refused
	}
	return entries, nil
}

// dumpOne writes a source that is where it was: its place is looked at before,
// and again once it was read.
func (w *writing) dumpOne(ctx context.Context, s source.Source) (e source.Entry, changes []string, err error) {
	if changes, err = w.moved(ctx, s); err != nil || len(changes) > 0 && !w.tolerates(s) {
		return e, changes, err
	}
	prev := w.previousOf(s)
	var total int64
	if prev != nil {
		total = prev.Entry.Size
	}
	w.progress.step(s.Kind()+" "+s.Name(), w.packs.Logical(), total)
	if e, err = s.Dump(ctx, w.packs, prev); err != nil {
		return e, nil, err
	}
	w.progress.done(w.packs.Logical())
	changes, err = w.changed(ctx, s, &e)
	e.Warnings = shorten(e.Warnings)
	return e, changes, err
}

// captureOrder gives the positions of sources in the order in which they are
// captured: databases, and what a command prints, before files. An application
// writes a file first, and then the row that points to it; so the files of all
// rows that a database has are there when the files are captured after it.
func captureOrder(sources []source.Source) []int {
	order := make([]int, 0, len(sources))
	for _, files := range []bool{false, true} {
		for i, s := range sources {
			if source.IsFiles(s.Kind()) == files {
				order = append(order, i)
			}
		}
	}
	return order
}

// previousOf finds a source's part of the previous backup.
func (w *writing) previousOf(s source.Source) *source.Previous {
	if w.previous == nil {
		return nil
	}
	i := slices.IndexFunc(w.previous.Sources, func(e source.Entry) bool {
		return e.Name == s.Name() && e.Kind == s.Kind()
	})
	if i < 0 {
		return nil
	}
	return &source.Previous{Entry: w.previous.Sources[i], Reader: w.reader}
}

// shorten keeps warnings from filling the manifest. Of a long one the beginning
// and the end stay: where a hook has printed much, the reason is at the end.
func shorten(warnings []string) []string {
	const most, length = 8, 240
	for i, text := range warnings {
		if i == most {
			return append(warnings[:most:most], fmt.Sprintf("and %d more", len(warnings)-most))
		}
		if runes := []rune(text); len(runes) > length {
			warnings[i] = string(runes[:length/2]) + "…" + string(runes[len(runes)-length/2:])
		}
	}
	return warnings
}

// differ reports whether the sources or their content changed.
func differ(now, before []source.Entry) bool {
	return !slices.EqualFunc(now, before, func(a, b source.Entry) bool {
		if a.Kind != b.Kind || a.Name != b.Name || (a.Extra == nil) != (b.Extra == nil) {
			return false
		}
		return a.Root.Equal(b.Root) && (a.Extra == nil || a.Extra.Equal(*b.Extra))
	})
}

func (w *writing) manifest(started time.Time, entries []source.Entry, index pack.IndexRef, s pack.Stats) *Manifest {
	m := &Manifest{
		Format: Format, Cluster: w.r.Cluster, Epoch: w.o.Epoch, Sequence: w.o.Sequence,
		Time: started.UTC().Truncate(time.Second), Previous: w.o.Previous,
		Instance: w.o.Instance, Trigger: w.o.Trigger, By: w.o.By, Reason: w.o.Reason,
		AppVersion: w.o.AppVersion, Version: w.o.Version,
		Duration: w.o.Now().Sub(started).Round(time.Millisecond).Seconds(),
		Size:     Size{Logical: s.Logical, New: s.New, Stored: s.Stored},
		Index:    index, Sources: entries,
	}
	if len(s.Packs) <= maxNewPacks {
		for _, info := range s.Packs {
			m.NewPacks = append(m.NewPacks, info.Digest.String())
		}
	}
	return m
}

// publish signs and stores the manifest, and checks its packs against the
// store's clock.
func (w *writing) publish(ctx context.Context, m *Manifest, stats pack.Stats) (Ref, *Manifest, error) {
	ref, err := newRef(w.o, m.Time)
	if err != nil {
		return Ref{}, nil, err
	}
	m.ID = ref.ID
	if m.DataKey, err = w.r.Ring.Wrap(w.o.Keys, w.r.Cluster, w.o.Random); err != nil {
		return Ref{}, nil, err
	}
	ref, signed, err := w.r.encode(ref, m)
	if err != nil {
		return Ref{}, nil, err
	}
	stored, err := w.r.putOnce(ctx, ref.Key, signed, blobstore.IfAbsent().Locked(w.lock(w.o.rules().ManifestLife())))
	if err != nil {
		return Ref{}, nil, fmt.Errorf("store manifest %s: %w", ref.Key, err)
	}
	if !w.o.rules().Outlives(stats.Oldest, stored) {
		return Ref{}, nil, fmt.Errorf("%w: %s is of %s, and the manifest of %s, by the store's clock",
			ErrExpiring, stats.Oldest.Digest.Key(), stats.Oldest.Time.Format(time.RFC3339), stored.Format(time.RFC3339))
	}
	return ref, m, nil
}

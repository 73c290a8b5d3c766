package control

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// tip is where a branch of the chain begins, backwards.
type tip struct {
	ref        backup.Ref
	superseded bool
	salvage    bool
}

// cut is a part of the chain that a promotion cut off: what is of an epoch
// before this one, and came after from, up to to.
type cut struct {
	epoch    uint64
	from, to uint64 // sequences
}

// tips are where the branches begin.
type tips struct {
	all     []tip // the head's first, then those that were cut off, newest first, then salvage backups
	cuts    []cut
	damaged []DamagedObject
}

// tips reads where the branches begin. What was written before oldest leads to
// nothing that is still there.
func (s *Store) tips(ctx context.Context, h *ha.Head, oldest time.Time) (tips, error) {
	var t tips
	if h.Newest != nil {
		t.all = append(t.all, tip{ref: *h.Newest})
	}
	t.cutOff(h.Epoch, h.StartedFrom, h.CutOff)
	const folder = DemoteFolder
	listed, names, err := s.List(ctx, folder)
	if err != nil {
		return t, err
	}
	objects := make([]any, len(names))
	errs := make([]error, len(names))
	err = InParallel(ctx, len(names), func(i int) error {
		key := folder + names[i] + ".json"
		kind := KindOf(key)
		if kind == ha.KindAck || listed[i].Time.Before(oldest) {
			return nil
		}
		objects[i], _, errs[i] = s.Read(ctx, kind, key, "")
		if errors.Is(errs[i], ErrUnverified) || errors.Is(errs[i], blobstore.ErrNotFound) {
			return nil // it leads nowhere
		}
		return errs[i]
	})
	if err != nil {
		return t, err
	}
	for i, object := range slices.Backward(objects) {
		if errors.Is(errs[i], ErrUnverified) {
			t.damaged = append(t.damaged, DamagedObject{Key: listed[i].Key, Reason: errs[i].Error()})
		}
		switch o := object.(type) {
		case *ha.Marker:
			t.cutOff(o.Epoch, o.Restored, o.CutOff)
		case *ha.SalvageRecord:
			if o.Backup != nil {
				t.all = append(t.all, tip{ref: *o.Backup, salvage: true})
			}
		}
	}
	slices.SortStableFunc(t.all, func(x, y tip) int { return rank(x) - rank(y) })
	return t, nil
}

// cutOff notes what a promotion to epoch cut off.
func (t *tips) cutOff(epoch uint64, restored, tipOf *backup.Ref) {
	if tipOf == nil {
		return
	}
	t.all = append(t.all, tip{ref: *tipOf, superseded: true})
	c := cut{epoch: epoch, to: tipOf.Sequence}
	if restored != nil {
		c.from = restored.Sequence
	}
	t.cuts = append(t.cuts, c)
}

// superseded reports whether a promotion cut a backup off.
func (t *tips) superseded(ref backup.Ref) bool {
	return slices.ContainsFunc(t.cuts, func(c cut) bool {
		return ref.Epoch < c.epoch && ref.Sequence > c.from && ref.Sequence <= c.to
	})
}

func rank(t tip) int {
	switch {
	case t.salvage:
		return 2
	case t.superseded:
		return 1
	}
	return 0
}

// readParallel is how many small objects are read at a time.
const readParallel = 16

// InParallel does something n times, several at a time, until one fails.
func InParallel(ctx context.Context, n int, do func(i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readParallel)
	for i := range n {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return do(i)
		})
	}
	return group.Wait()
}

package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
)

// A salvage backup is there once its manifest lies in the folder of salvage
// backups: its signature says that an instance of this cluster wrote it. A record
// under demote/ says for which epoch it was made. A record that is missing, that
// somebody removed, or that an older version of Understudy never wrote hides
// nothing.

// salvage is a salvage backup that lies in the bucket.
type salvage struct {
	ref    backup.Ref
	m      *backup.Manifest // nil where err says why it cannot be used
	err    error
	stored time.Time // by the store's clock
}

// salvages reads the newest salvage backups of the folder, at most so many, among
// those that are wanted. One that only a retired key has signed is left out.
func (c *Chain) salvages(ctx context.Context, most int, wanted func(backup.Ref, time.Time) bool) ([]salvage, error) {
	var all []salvage
	for attrs, err := range c.store.store.List(ctx, retention.Folders[1], "") {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", retention.Folders[1], err)
		}
		if ref, err := backup.ParseKey(attrs.Key); err == nil && wanted(ref, attrs.Time) {
			all = append(all, salvage{ref: ref, stored: attrs.Time})
		}
		if len(all) > 2*most { // names cost nothing: whoever writes many must not have them all kept
			all = newestSalvages(all, most)
		}
	}
	all = newestSalvages(all, most)
	err := InParallel(ctx, len(all), func(i int) error {
		s := &all[i]
		full, m, err := c.known.named(ctx, s.ref)
		switch {
		case err == nil:
			s.ref, s.m = full, m
		case errors.Is(err, blobstore.ErrNotFound), Unusable(err):
			s.err = err
		default:
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(s salvage) bool {
		return errors.Is(s.err, seal.ErrUnknownKey) || errors.Is(s.err, blobstore.ErrNotFound)
	}), nil
}

func newestSalvages(all []salvage, most int) []salvage {
	slices.SortFunc(all, func(x, y salvage) int { return NewestFirst(x.ref, y.ref) })
	return all[:min(len(all), most)]
}

// info describes it as a list shows it.
func (s salvage) info() BackupInfo {
	if s.err != nil {
		return DamagedInfo(s.ref, s.err)
	}
	return InfoOf(s.ref, s.m)
}

// mostSalvages is how many of them are told of where there is no page.
const mostSalvages = 1000

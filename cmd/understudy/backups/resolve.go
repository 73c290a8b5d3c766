package backups

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
)

// Latest is the word for the newest backup; latest~1 is the one before it.
const Latest = "latest"

// IDs is where the ids of backups are looked up.
type IDs struct {
	// with returns the ids that begin so.
	with func(ctx context.Context, prefix string) ([]string, error)
	// back returns the id of the one so many before the newest, in the present chain.
	back func(ctx context.Context, n int) (string, error)
}

// Resolve makes a backup's id of what people write for it: an id, the beginning of one,
// latest, latest~1. It is "" for the newest, which who reads it finds by the head.
func (ids IDs) Resolve(ctx context.Context, text string) (string, error) {
	if text == "" || text == Latest {
		return "", nil
	}
	if n, is := strings.CutPrefix(text, Latest+"~"); is {
		back, err := strconv.ParseUint(n, 10, 31)
		switch {
		case err != nil:
			return "", exit.Usagef("%q is no backup: write %s~1 for the one before the newest, and so on", text, Latest)
		case back == 0:
			return "", nil
		}
		return ids.back(ctx, int(back))
	}
	if _, err := backup.ParseID(text); err == nil && len(text)-strings.LastIndexByte(text, '-') > randomLength {
		return text, nil
	}
	if !beginning.MatchString(text) {
		return "", NoBackup(text)
	}
	found, err := ids.with(ctx, text)
	if err != nil {
		return "", err
	}
	slices.Sort(found)
	switch found = slices.Compact(found); len(found) {
	case 0:
		return "", NoBackup(text)
	case 1:
		return found[0], nil
	}
	slices.Reverse(found)
	return "", exit.Usagef("%q begins the ids of %d backups: write more of it\n%s", text, len(found), candidates(found))
}

// Relative reports whether what people write for a backup depends on which is the newest.
func Relative(text string) bool { return text == "" || strings.HasPrefix(text, Latest) }

// randomLength is how long the last part of an id is.
const randomLength = 8

// beginning is what an id may begin with.
var beginning = regexp.MustCompile(`^\d[0-9A-Za-z-]*$`)

// mostCandidates is how many ids are listed that were perhaps meant.
const mostCandidates = 10

func candidates(ids []string) string {
	text := "  " + strings.Join(ids[:min(len(ids), mostCandidates)], "\n  ")
	if more := len(ids) - mostCandidates; more > 0 {
		text += fmt.Sprintf("\n  and %d older ones", more)
	}
	return text
}

// tooFarBack says that the chain is not as long.
func tooFarBack(n, have int) error {
	return exit.With(exit.ErrFailed, fmt.Errorf("there is no %s~%d: the chain that the newest backup ends has %d; list them with: understudy backups", Latest, n, have))
}

// Listed are the ids that the agent tells or, where none runs on this host, the bucket.
func (f *Finder) Listed() IDs {
	return IDs{
		with: func(ctx context.Context, prefix string) ([]string, error) {
			list, err := f.List(ctx, "", Most)
			var ids []string
			for _, b := range list.Backups {
				if strings.HasPrefix(b.ID, prefix) {
					ids = append(ids, b.ID)
				}
			}
			return ids, err
		},
		back: func(ctx context.Context, n int) (string, error) {
			return goBack(ctx, n, f.List)
		},
	}
}

// Stored are the ids in the bucket, as it was at a time unless that is zero.
func (f *Finder) Stored(at time.Time) IDs {
	return IDs{
		with: func(ctx context.Context, prefix string) ([]string, error) {
			store, _, err := f.Buckets.LookAt(ctx, at)
			if err != nil {
				return nil, err
			}
			return storedWith(ctx, store, prefix)
		},
		back: func(ctx context.Context, n int) (string, error) {
			_, bucket, err := f.Buckets.LookAt(ctx, at)
			if err != nil {
				return "", err
			}
			return goBack(ctx, n, bucket.Chain().List)
		},
	}
}

// storedWith lists what lies in the bucket under names that begin so. It reads none of it.
func storedWith(ctx context.Context, store blobstore.Store, prefix string) (ids []string, err error) {
	day := "" // in which the backup was made, as far as the prefix tells it
	if len(prefix) >= 8 {
		day = prefix[:4] + "-" + prefix[4:6] + "-" + prefix[6:8] + "/"
	}
	for _, folder := range []string{retention.Backups, retention.Salvage} {
		for blob, err := range store.List(ctx, folder+day, "") {
			if err != nil {
				return nil, err
			}
			if ref, err := backup.ParseKey(blob.Key); err == nil && strings.HasPrefix(ref.ID, prefix) {
				ids = append(ids, ref.ID)
			}
		}
	}
	return ids, nil
}

// Cached are the ids in this host's cache.
func (f *Finder) Cached() IDs {
	return IDs{
		with: func(_ context.Context, prefix string) ([]string, error) {
			refs, err := f.cached()
			var ids []string
			for _, ref := range refs {
				if strings.HasPrefix(ref.ID, prefix) {
					ids = append(ids, ref.ID)
				}
			}
			return ids, err
		},
		back: func(_ context.Context, n int) (string, error) {
			refs, err := f.cached()
			switch {
			case err != nil:
				return "", err
			case n >= len(refs):
				return "", tooFarBack(n, len(refs))
			}
			return refs[n].ID, nil
		},
	}
}

// Readable are the ids in the bucket and in this host's cache. While the bucket cannot be
// asked, or none is set, those in the cache are all.
func (f *Finder) Readable() IDs {
	stored, cached := f.Stored(time.Time{}), f.Cached()
	if f.Set.Bucket == "" {
		return IDs{
			with: func(ctx context.Context, prefix string) ([]string, error) {
				ids, err := cached.with(ctx, prefix)
				return ids, f.orNowhere(err)
			},
			back: func(ctx context.Context, n int) (string, error) {
				id, err := cached.back(ctx, n)
				return id, f.orNowhere(err)
			},
		}
	}
	return IDs{
		with: func(ctx context.Context, prefix string) ([]string, error) {
			ids, err := stored.with(ctx, prefix)
			more, missing := cached.with(ctx, prefix)
			if unreachable(ctx, err) && missing == nil && len(more) > 0 {
				f.Tell.Note("the bucket cannot be asked which backups there are (%v); those in this host's cache are taken", err)
				err = nil
			}
			return append(ids, more...), err
		},
		back: func(ctx context.Context, n int) (string, error) {
			id, err := stored.back(ctx, n)
			if unreachable(ctx, err) {
				if other, missing := cached.back(ctx, n); missing == nil {
					f.Tell.Note("the bucket cannot be asked which backups there are (%v); those in this host's cache are taken", err)
					return other, nil
				}
			}
			return id, err
		},
	}
}

// unreachable reports whether an error is the store's.
func unreachable(ctx context.Context, err error) bool {
	store := (*blobstore.Error)(nil)
	return errors.As(err, &store) && ctx.Err() == nil
}

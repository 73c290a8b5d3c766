package control

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/retention"
)

// list lists the folder of backups, once. What is no backup's name is left out.
func (w *walker) list(ctx context.Context) ([]backup.Ref, error) {
	if w.listed != nil {
		return w.listed, nil
	}
	listed, err := w.store.ListBackups(ctx, "", 0)
	w.listed = listed
	return listed, err
}

// ListBackups lists the folder of backups from the key after on, oldest first,
// at most so many; 0: all. What is no backup's name is left out.
func (s *Store) ListBackups(ctx context.Context, after string, most int) ([]backup.Ref, error) {
	return s.listBackups(ctx, after, func(_ string, n int) bool { return n == most && most > 0 })
}

// listBackups lists the folder of backups from the key after on, until it has enough:
// that is asked with each key, and with how many backups were listed.
func (s *Store) listBackups(ctx context.Context, after string, enough func(key string, n int) bool) ([]backup.Ref, error) {
	listed := []backup.Ref{}
	for attrs, err := range s.store.List(ctx, retention.Folders[0], after) {
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", retention.Folders[0], err)
		}
		if ref, err := backup.ParseKey(attrs.Key); err == nil {
			listed = append(listed, ref)
		}
		if enough(attrs.Key, len(listed)) {
			break
		}
	}
	return listed, nil
}

const (
	// firstSpan is how far back is looked first for what was made before a backup.
	firstSpan = 24 * time.Hour
	// lastSpan is farther than any retention.
	lastSpan = 1 << 12 * firstSpan
)

// nearest finds up to so many of the backups that were made last before ref, it
// included, the last first. It lists spans that double, so that it takes as many
// requests whatever else there is in the folder.
func (w *walker) nearest(ctx context.Context, ref backup.Ref, most int) ([]backup.Ref, error) {
	var near []backup.Ref
	until := ref.Key
	for span := firstSpan; ; span *= 2 {
		begin := ref.Time.Add(-span)
		last := begin.Before(w.oldest) || span > lastSpan
		from := backup.KeyAt(begin)
		listed, err := w.store.listBackups(ctx, from, func(key string, _ int) bool { return key >= until })
		if err != nil {
			return nil, err
		}
		for _, r := range slices.Backward(listed) {
			switch {
			case r.Key > until, w.seen[r.ID]:
				continue
			case w.expired(r):
				return near, nil
			}
			if near = append(near, r); len(near) == most {
				return near, nil
			}
		}
		if last {
			return near, nil
		}
		until = from
	}
}

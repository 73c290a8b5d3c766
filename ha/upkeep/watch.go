package upkeep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha/control"
)

// watch compares what lies in folders of the bucket with what it has read of
// them. An object of which the list says something else than before is read again;
// so is, in rotation, one of which it does not, since a list does not tell of every
// rot. One look reads a bounded number of objects. It belongs to one goroutine, but
// for bad.
type watch struct {
	store   blobstore.Store
	folders []string
	// check reads an object and says what is wrong with it. known says that it was
	// good before. An object that is not there any more is blobstore.ErrNotFound.
	check func(ctx context.Context, key string, known bool) (finding, error)
	// mayGo reports whether an object that was last written then may be gone: it is
	// not looked at any more.
	mayGo func(key string, written time.Time) bool
	// forget is told of objects that are not, or may not be, what was read of them.
	forget func(keys map[string]bool)

	turn  int
	stale map[string]bool // what forget is to be told of

	mu    sync.Mutex
	seen  map[string]sight
	wrong []badObject // as of the last look
}

// Bounds of one look.
const (
	watchNew   = 500 // objects that are new, or changed
	WatchAgain = 20  // objects that look as before
)

// finding is what reading an object has come to.
type finding struct {
	why   string // what is wrong with it; "": nothing
	needs *pin
}

// pin is an object that another one says must be there.
type pin struct {
	key     string
	written time.Time
}

// sight is what is known of an object.
type sight struct {
	attrs blobstore.Attrs
	turn  int // of the look that read it last
	good  bool
	why   string // what is wrong with it now; "": nothing
}

// missingText is what is wrong with an object that is not there.
const missingText = "it is missing from the bucket"

// look looks once.
func (w *watch) look(ctx context.Context) error {
	listed, err := w.list(ctx)
	if err != nil {
		return err
	}
	w.turn++
	w.stale = make(map[string]bool)
	if w.seen == nil {
		w.seen = make(map[string]sight)
	}
	due := w.due(listed)
	found, errs := make([]finding, len(due)), make([]error, len(due))
	_ = control.InParallel(ctx, len(due), func(i int) error { // each has its own error
		found[i], errs[i] = w.check(ctx, due[i].Key, w.seen[due[i].Key].good)
		return nil
	})
	var failure error
	for i, attrs := range due {
		switch {
		case errors.Is(errs[i], blobstore.ErrNotFound): // the next look tells
		case errs[i] != nil:
			failure = cmp.Or(failure, errs[i])
		default:
			w.note(listed, attrs, found[i])
		}
	}
	failure = cmp.Or(ctx.Err(), failure, w.miss(ctx, listed))
	if len(w.stale) > 0 {
		w.forget(w.stale)
	}
	w.sum()
	return failure
}

func (w *watch) list(ctx context.Context) (map[string]blobstore.Attrs, error) {
	listed := make(map[string]blobstore.Attrs)
	for _, folder := range w.folders {
		for attrs, err := range w.store.List(ctx, folder, "") {
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", folder, err)
			}
			if !w.mayGo(attrs.Key, attrs.Time) {
				listed[attrs.Key] = attrs
			}
		}
	}
	return listed, nil
}

// due are the objects that this look reads: what has changed, or was bad, and what
// was never read, the newest first; then those that were not read for the longest.
func (w *watch) due(listed map[string]blobstore.Attrs) []blobstore.Attrs {
	var changed, unread, rest []blobstore.Attrs
	for key, attrs := range listed {
		s, known := w.seen[key]
		switch {
		case !known:
			unread = append(unread, attrs)
		case s.attrs.Token != attrs.Token, s.attrs.Size != attrs.Size, s.why != "":
			w.stale[key] = true
			changed = append(changed, attrs)
		default:
			rest = append(rest, attrs)
		}
	}
	slices.SortFunc(unread, func(x, y blobstore.Attrs) int { return strings.Compare(y.Key, x.Key) })
	slices.SortFunc(rest, func(x, y blobstore.Attrs) int {
		return cmp.Or(cmp.Compare(w.seen[x.Key].turn, w.seen[y.Key].turn), strings.Compare(x.Key, y.Key))
	})
	due := append(changed, unread...)
	return append(due[:min(len(due), watchNew)], rest[:min(len(rest), WatchAgain)]...)
}

// note takes in what was found of an object. What it says must be there counts as
// missing where that is not listed, and something older is: what expires does so
// from the oldest on.
func (w *watch) note(listed map[string]blobstore.Attrs, attrs blobstore.Attrs, v finding) {
	if v.why != "" {
		w.stale[attrs.Key] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.seen[attrs.Key]
	w.seen[attrs.Key] = sight{attrs: attrs, turn: w.turn, good: was.good || v.why == "", why: v.why}
	if v.needs == nil {
		return
	}
	_, there := listed[v.needs.key]
	if _, known := w.seen[v.needs.key]; there || known {
		return
	}
	folder := v.needs.key[:strings.Index(v.needs.key, "/")+1]
	for key := range listed {
		if strings.HasPrefix(key, folder) && key < v.needs.key {
			w.seen[v.needs.key] = sight{attrs: blobstore.Attrs{Key: v.needs.key, Time: v.needs.written}, good: true}
			return
		}
	}
}

// miss finds what was good and is not there any more.
func (w *watch) miss(ctx context.Context, listed map[string]blobstore.Attrs) error {
	for key, s := range w.seen {
		if _, there := listed[key]; there {
			continue
		}
		gone := s.good && !w.mayGo(key, s.attrs.Time)
		if gone && s.why != missingText {
			_, err := w.store.Stat(ctx, key)
			if err != nil && !errors.Is(err, blobstore.ErrNotFound) {
				return fmt.Errorf("look for %s: %w", key, err)
			}
			if err == nil {
				continue // it has come meanwhile
			}
		}
		w.stale[key] = true
		w.mu.Lock()
		if s.why = missingText; gone {
			w.seen[key] = s
		} else {
			delete(w.seen, key)
		}
		w.mu.Unlock()
	}
	return nil
}

// badObject is an object that is damaged, or missing.
type badObject struct{ key, why string }

// bad lists what is wrong, by key, for reading.
func (w *watch) bad() []badObject {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrong
}

// sum lists what is wrong.
func (w *watch) sum() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = nil
	for key, s := range w.seen {
		if s.why != "" {
			w.wrong = append(w.wrong, badObject{key, s.why})
		}
	}
	slices.SortFunc(w.wrong, func(x, y badObject) int { return strings.Compare(x.key, y.key) })
}

// damage says what is wrong with an object; "": nothing is known.
func (w *watch) damage(key string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[key].why
}

// again has an object read by the next look, whatever was found of it.
func (w *watch) again(key string) {
	w.mu.Lock()
	delete(w.seen, key)
	w.mu.Unlock()
	w.sum()
}

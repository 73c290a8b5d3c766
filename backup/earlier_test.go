package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
)

// vandal does with an object what somebody without the key can do.
var vandal = map[string]func(ctx context.Context, s blobstore.Store, key string) error{
	"deleted": func(ctx context.Context, s blobstore.Store, key string) error { return s.Delete(ctx, key) },
	"emptied": func(ctx context.Context, s blobstore.Store, key string) error {
		_, err := s.Put(ctx, key, nil, blobstore.Always)
		return err
	},
	"cut short": func(ctx context.Context, s blobstore.Store, key string) error {
		body, _, err := blobstore.ReadAll(ctx, s, key, pack.MaxPackSize)
		if err != nil {
			return err
		}
		_, err = s.Put(ctx, key, body[:len(body)/2], blobstore.Always)
		return err
	},
	"changed, again and again": func(ctx context.Context, s blobstore.Store, key string) error {
		body, _, err := blobstore.ReadAll(ctx, s, key, pack.MaxPackSize)
		for i := range 3 {
			if err != nil {
				return err
			}
			body = slices.Clone(body)
			body[(i+1)*len(body)/5] ^= 1
			_, err = s.Put(ctx, key, body, blobstore.Always)
		}
		return err
	},
}

// objects are the keys of all that lies in the bucket.
func (w *world) objects() []string {
	var keys []string
	for a, err := range w.store.List(w.t.Context(), "", "") {
		must(w.t, err)
		keys = append(keys, a.Key)
	}
	return keys
}

func TestWhatSomebodySpoiltIsReadFromAnEarlierVersion(t *testing.T) {
	for name, spoil := range vandal {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.store.Versioned = true
			for i := range 4 {
				w.app.state = append(w.app.state, noise(uint64(i), 300_000))
			}
			ref, _ := w.write()
			want := w.content()
			var told []string
			w.repo.Recovered = func(_ context.Context, key string, _ blobstore.Version) { told = append(told, key) }
			w.check(ref, want)
			if len(told) > 0 {
				t.Fatalf("earlier versions of %q were read for nothing", told)
			}
			keys := w.objects()
			for _, key := range keys {
				must(t, spoil(t.Context(), w.store, key))
			}
			w.check(ref, want)
			for _, key := range keys {
				if !slices.Contains(told, key) {
					t.Errorf("nobody was told that an earlier version of %s was read", key)
				}
			}
			named, err := ParseID(ref.ID)
			must(t, err)
			full, m, err := w.repo.LoadNamed(t.Context(), named)
			if name != "deleted" && (err != nil || full != ref || m.ID != ref.ID) {
				t.Errorf("by its name alone: %+v, %v", full, err)
			}
			if name == "deleted" {
				if !errors.Is(err, blobstore.ErrNotFound) {
					t.Errorf("a name that nothing pins, of a backup that may have expired: %v", err)
				}
				if full, m, err := w.repo.LoadDeleted(t.Context(), named); err != nil || full != ref || m.ID != ref.ID {
					t.Errorf("by its name, though it was deleted: %+v, %v", full, err)
				}
			}
		})
	}
}

// What is right nowhere is damaged still, and the error says so.
func TestNoVersionIsTakenThatIsNotRight(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{noise(1, 300_000)}
	ref, _ := w.write()
	want := w.content()
	w.store.Versioned = true // from now on: what was there is not kept
	for _, key := range w.objects() {
		must(t, vandal["changed, again and again"](t.Context(), w.store, key))
	}
	if err := w.readable(ref, want); !errors.Is(err, ErrTampered) {
		t.Errorf("read: %v", err)
	}
}

// A backup is not built on a pack of which only an earlier version is left.
func TestABackupIsNotBuiltOnWhatIsLeftOfAPack(t *testing.T) {
	w := newWorld(t)
	w.store.Versioned = true
	w.app.state = [][]byte{noise(1, 300_000), noise(2, 300_000)}
	_, first := w.write()
	for _, key := range w.objects() {
		if key != w.ref.Key {
			must(t, vandal["cut short"](t.Context(), w.store, key))
		}
	}
	w.now = w.now.Add(time.Hour)
	ref, m := w.write(func(o *Order) { o.Local = nil })
	if m.Size.Stored < first.Size.Stored {
		t.Errorf("%d bytes were stored, want all %d again", m.Size.Stored, first.Size.Stored)
	}
	w.repo.Recovered = func(_ context.Context, key string, _ blobstore.Version) {
		t.Error(fmt.Errorf("the new backup needs an earlier version of %s", key))
	}
	w.check(ref, w.content())
}

package backup

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/blobstore"
)

// Whatever pack disappears, or is cut short: once it is known, or looked for, the
// next backup does without it and can be restored, with and without the metadata
// near, whether or not the state has changed.
func TestPacksThatAreMissingAreStoredAgain(t *testing.T) {
	damages := map[string]func(w *world, key string) error{
		"gone": func(w *world, key string) error { return w.store.Delete(w.t.Context(), key) },
		"cut short": func(w *world, key string) error {
			_, err := w.store.Memory.Put(w.t.Context(), key, []byte("short"), blobstore.Always)
			return err
		},
	}
	ways := map[string]func(t *testing.T, w *world, o *Order){
		"known": func(t *testing.T, w *world, o *Order) {
			_, index, err := w.repo.Open(t.Context(), w.manifest, w.readNear())
			if err != nil {
				return // the index is gone: the backup starts afresh by itself
			}
			missing, err := w.repo.Missing(t.Context(), index.Packs())
			if err != nil || len(missing) != 1 {
				t.Fatalf("missing: %v, %v", missing, err)
			}
			o.Missing = map[pack.Digest]bool{missing[0].Digest: true}
		},
		"looked for": func(_ *testing.T, _ *world, o *Order) { o.CheckPacks = 1000 },
		"full":       func(_ *testing.T, _ *world, o *Order) { o.Full = true },
	}
	for damage, spoil := range damages {
		for way, prepare := range ways {
			for _, near := range []bool{true, false} {
				for _, change := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s %s near %t change %t", damage, way, near, change), func(t *testing.T) {
						for n := 0; ; n++ {
							w := newWorld(t)
							w.app.state = [][]byte{noise(1, 300_000), noise(2, 200_000)}
							w.write()
							keys := w.packKeys()
							if n == len(keys) {
								return
							}
							if err := spoil(w, keys[n]); err != nil {
								t.Fatal(err)
							}
							if !near {
								w.local = &folder{packs: make(map[pack.Digest][]byte)}
							}
							if change {
								w.app.state = append(w.app.state, noise(3, 1000))
							}
							ref, _ := w.write(func(o *Order) { prepare(t, w, o) })
							w.check(ref, w.content())
						}
					})
				}
			}
		}
	}
}

// readNear reads packs as a backup does.
func (w *world) readNear() pack.Packs { return pack.FirstOf(w.local, w.repo.BucketPacks()) }

// packKeys are the keys of the packs in the bucket.
func (w *world) packKeys() (keys []string) {
	for attrs, err := range w.store.List(w.t.Context(), retention.Packs, "") {
		if err != nil {
			w.t.Fatal(err)
		}
		keys = append(keys, attrs.Key)
	}
	return keys
}

// A full backup refers to nothing that was there before; a look at the packs
// costs a list, and tells what it finds.
func TestAFullBackupRefersToNoEarlierPack(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{noise(1, 300_000)}
	w.write()
	for _, key := range w.packKeys() {
		if err := w.store.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	w.now = w.now.Add(time.Minute)
	ref, m := w.write(func(o *Order) { o.Full = true })
	w.check(ref, w.content())
	if m.Previous == nil {
		t.Error("it has left the chain")
	}
	told := 0
	if err := w.store.Delete(t.Context(), w.packKeys()[0]); err != nil {
		t.Fatal(err)
	}
	ref, _ = w.write(func(o *Order) {
		o.CheckPacks = 1000
		o.Lost = func(_ context.Context, lost []pack.Info) { told += len(lost) }
	})
	w.check(ref, w.content())
	if told != 1 {
		t.Errorf("told of %d packs", told)
	}
	w.write(func(o *Order) { o.CheckPacks = 1000 })
	if got := w.store.counts; got["stat packs"]+got["put packs"]+got["get packs"] > 0 || got["put backups"] != 1 {
		t.Errorf("requests where nothing is missing and nothing changed: %v", got)
	}
}

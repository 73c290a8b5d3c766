package backup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/blobstore"
)

func TestABackupIsReadBack(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{noise(1, 3<<20), nil, []byte("small")}
	first, m := w.write()
	if want := fmt.Sprintf("backups/2026-03-01/%s.json", first.ID); first.Key != want {
		t.Errorf("key %s, not %s", first.Key, want)
	}
	if !strings.HasPrefix(first.ID, "20260301T120000Z-e00000001-s00000001-") {
		t.Errorf("id %s", first.ID)
	}
	if !m.Changed || m.Size.Logical < 3<<20 || m.Size.Stored < 3<<20 || len(m.NewPacks) == 0 {
		t.Errorf("%+v", m)
	}
	before := w.content()
	w.now = w.now.Add(5 * time.Minute)
	w.app.state = append(w.app.state, []byte("more"))
	second, m := w.write()
	if !m.Changed || m.Size.Stored > 64<<10 || !cmp.Equal(*m.Previous, first) {
		t.Errorf("%+v", m)
	}
	w.check(first, before)
	w.check(second, w.content())
}

func TestWhenNothingChangedOnlyTheManifestIsWritten(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{noise(1, 3<<20), []byte("small")}
	_, m1 := w.write()
	w.now = w.now.Add(5 * time.Minute)
	ref, m2 := w.write()
	if want := map[string]int{"put backups": 1}; !maps.Equal(w.store.counts, want) {
		t.Errorf("requests %v, not %v", w.store.counts, want)
	}
	if m2.Changed || m2.Size.Stored+m2.Size.New != 0 || !cmp.Equal(m1.Index, m2.Index) {
		t.Errorf("%+v", m2)
	}
	w.check(ref, w.content())
}

func TestWithoutLocalCopiesTheBucketServes(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{noise(1, 1<<20)}
	w.write()
	_, m := w.write(func(o *Order) { o.Local, o.PreviousManifest = nil, nil })
	if m.Changed || w.store.counts["put packs"] > 0 || w.store.counts["get packs"] == 0 {
		t.Errorf("requests %v", w.store.counts)
	}
}

func TestASalvageThatWouldBeTheSameIsNotWritten(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{[]byte("one")}
	first, _ := w.write()
	salvage := func(o *Order) { o.Salvage, o.OnlyIfChanged, o.Trigger = true, true, Salvage }
	ref, m := w.write(salvage)
	if !cmp.Equal(ref, first) || m.ID != first.ID || len(w.store.counts) > 0 {
		t.Errorf("%s was written: %v", ref.Key, w.store.counts)
	}
	w.app.state = [][]byte{[]byte("two")}
	ref, _ = w.write(salvage)
	if !ref.IsSalvage() || !strings.HasPrefix(ref.Key, "salvage/2026-03-01/") {
		t.Errorf("key %s", ref.Key)
	}
	w.check(ref, w.content())
}

func TestHooksSurroundTheSnapshot(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name                  string
		before, source, after error
		fails, warns          bool
	}{
		{name: "all well"},
		{name: "before fails", before: broken, fails: true},
		{name: "snapshot fails", source: broken, fails: true},
		{name: "after fails", after: broken, warns: true},
		{name: "snapshot and after fail", source: broken, after: broken, fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.app.state = [][]byte{[]byte("one")}
			w.app.err = c.source
			var ran []string
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o := w.order()
			o.Before = func(context.Context) error { ran = append(ran, "before"); return c.before }
			o.After = func(ctx context.Context) error {
				ran = append(ran, "after")
				if ctx.Err() != nil {
					t.Error("the hook after the backup was given no time")
				}
				return c.after
			}
			_, m, err := w.repo.Write(ctx, o)
			if !slices.Equal(ran, []string{"before", "after"}) {
				t.Errorf("ran %v", ran)
			}
			if (err != nil) != c.fails || c.fails && !errors.Is(err, broken) {
				t.Errorf("Write: %v", err)
			}
			if !c.fails && (len(m.Warnings) > 0) != c.warns {
				t.Errorf("warnings %q", m.Warnings)
			}
		})
	}
}

func TestTheHookAfterRunsWhenTheBackupIsCancelled(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{[]byte("one")}
	ctx, cancel := context.WithCancel(t.Context())
	o := w.order()
	o.Before = func(context.Context) error { cancel(); return nil }
	ran := false
	o.After = func(ctx context.Context) error { ran = true; return ctx.Err() }
	_, _, err := w.repo.Write(ctx, o)
	if !ran || !errors.Is(err, context.Canceled) {
		t.Errorf("ran %t, %v", ran, err)
	}
	if keys := w.store.Keys(); slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, "backups/") }) {
		t.Errorf("a manifest was written: %v", keys)
	}
}

func TestAnUnknownOutcomeIsResolved(t *testing.T) {
	for name, landed := range map[string]bool{"landed": true, "lost": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.app.state = [][]byte{[]byte("one")}
				failures := 2
				fail := func(op, key string) error {
					if op == "put" && strings.HasPrefix(key, "backups/") && failures > 0 {
						failures--
						return &blobstore.Error{Op: op, Key: key, Kind: blobstore.ErrUnknownOutcome}
					}
					return nil
				}
				if landed {
					w.store.after = fail
				} else {
					w.store.before = fail
				}
				ref, _ := w.write()
				w.check(ref, w.content())
			})
		})
	}
}

func TestAManifestNeverReplacesAnotherObject(t *testing.T) {
	w := newWorld(t)
	random := func(o *Order) { o.Random = rand.NewChaCha8([32]byte{2}) }
	first, _, err := w.try(random)
	if err != nil {
		t.Fatal(err)
	}
	w.app.state = [][]byte{[]byte("other")}
	w.app.name = "other"
	second, _, err := w.try(random, func(o *Order) { o.Local = nil })
	if err == nil && second.Key == first.Key {
		t.Error("a manifest was replaced")
	}
	w.app.state, w.app.old = nil, nil
	w.check(first, nil)
}

func TestExpiredObjectsMeanAFreshStart(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, *world, *Order){
		"manifest": func(t *testing.T, w *world, o *Order) {
			t.Helper()
			o.PreviousManifest = nil
			must(t, w.store.Delete(t.Context(), o.Previous.Key))
		},
		"index pack": func(t *testing.T, w *world, o *Order) {
			t.Helper()
			o.Local = nil
			must(t, w.store.Delete(t.Context(), w.manifest.Index.Packs[0].Digest.Key()))
		},
		"data keys": func(t *testing.T, w *world, o *Order) {
			t.Helper()
			keys, err := seal.NewDataKeys(rand.NewChaCha8([32]byte{9}))
			must(t, err)
			o.Keys = keys
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.app.state = [][]byte{noise(1, 1<<20)}
			first, _ := w.write()
			ref, m := w.write(func(o *Order) { spoil(t, w, o) })
			if m.Size.Stored < 1<<20 || m.Previous.ID != first.ID {
				t.Errorf("%+v", m)
			}
			if !strings.Contains(w.logs.String(), "uploads everything") {
				t.Errorf("nothing was said: %s", w.logs)
			}
			w.check(ref, w.content())
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFullLocalFolderFailsNoBackup(t *testing.T) {
	w := newWorld(t)
	w.local.full = true
	w.app.state = [][]byte{[]byte("one")}
	ref, _ := w.write()
	w.check(ref, w.content())
	if !strings.Contains(w.logs.String(), errFull.Error()) {
		t.Errorf("nothing was said: %s", w.logs)
	}
	if _, m := w.write(); m.Changed || w.store.counts["put packs"] > 0 {
		t.Errorf("requests %v", w.store.counts)
	}
}

func TestAnUnreachableBucketIsNoFreshStart(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{[]byte("one")}
	w.write()
	w.store.before = func(op, key string) error {
		return &blobstore.Error{Op: op, Key: key, Kind: blobstore.ErrDenied}
	}
	_, _, err := w.try(func(o *Order) { o.PreviousManifest = nil })
	if !errors.Is(err, blobstore.ErrDenied) {
		t.Errorf("Write: %v", err)
	}
}

func TestTheFirstBackupOfAnEpochChecksItsPacks(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{noise(1, 1<<20), noise(2, 1<<20)}
	w.write()
	w.app.state = append(w.app.state, noise(3, 1<<20))
	_, m := w.write()
	first := func(o *Order) { o.Epoch, o.FirstInEpoch, o.Trigger = 2, true, First }
	_, again := w.write(first)
	if w.store.counts["stat packs"] < 3 || w.store.counts["put packs"] != 0 {
		t.Errorf("requests %v", w.store.counts)
	}
	if !cmp.Equal(m.Index, again.Index) {
		t.Error("the index changed though all packs are there")
	}
	for _, key := range w.store.Keys() { // the largest is one of data
		if a, err := w.store.Memory.Stat(t.Context(), key); err == nil && a.Size > 1<<20 {
			must(t, w.store.Delete(t.Context(), key))
			break
		}
	}
	ref, m := w.write(first)
	if m.Size.New == 0 {
		t.Error("a missing pack was not noticed")
	}
	w.check(ref, w.content())
}

func TestProgressReachesItsTotal(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{noise(1, 20<<20)}
	w.write()
	w.app.state[0] = noise(2, 20<<20)
	var steps []Progress
	w.write(func(o *Order) { o.Progress = func(p Progress) { steps = append(steps, p) } })
	var last Progress
	for _, p := range steps {
		if p.Step == last.Step && p.Done < last.Done {
			t.Errorf("%+v after %+v", p, last)
		}
		if last = p; p.Step == "value app" && p.Total != 20<<20 {
			t.Errorf("total %d", p.Total)
		}
	}
	done := slices.ContainsFunc(steps, func(p Progress) bool { return p.Step == "value app" && p.Done >= 20<<20 })
	if !done || last.Step != "store packs" {
		t.Errorf("%+v", steps)
	}
}

// many is a source with a root as long as roots get.
type many struct{ value }

func (m *many) Dump(ctx context.Context, w *pack.Writer, _ *source.Previous) (source.Entry, error) {
	root, err := w.Write(ctx, strings.NewReader(strings.Repeat(m.name, 1<<17)), pack.Database)
	e := source.Entry{Kind: "many", Name: m.name, Root: root, Extra: &root}
	for range 1000 {
		e.Warnings = append(e.Warnings, strings.Repeat("a file changed while it was read ", 100))
	}
	return e, err
}

func TestAManifestStaysSmall(t *testing.T) {
	w := newWorld(t)
	var sources []source.Source
	for i := range 8 {
		sources = append(sources, &many{value{name: fmt.Sprintf("source-%d", i)}})
	}
	ref, m := w.write(func(o *Order) { o.Sources = sources })
	a, err := w.store.Memory.Stat(t.Context(), ref.Key)
	if err != nil || a.Size > MaxManifestSize {
		t.Errorf("%d bytes, %v", a.Size, err)
	}
	if n := len(m.Sources[0].Warnings); n > 10 {
		t.Errorf("%d warnings", n)
	}
	for i := range 2000 {
		sources = append(sources, &value{name: fmt.Sprintf("empty-%d", i)})
	}
	if _, _, err := w.try(func(o *Order) { o.Sources = sources }); err == nil || !strings.Contains(err.Error(), "every source takes room") {
		t.Errorf("a manifest that is too large: %v", err)
	}
}

// A long warning keeps its end, where a hook that printed much has its reason.
func TestALongWarningKeepsItsEnd(t *testing.T) {
	got := shorten([]string{"run post_backup hook: " + strings.Repeat("a line of no interest ", 100) + "the moon is not mounted"})
	if len(got) != 1 || !strings.HasPrefix(got[0], "run post_backup hook") || !strings.HasSuffix(got[0], "the moon is not mounted") || len([]rune(got[0])) > 241 {
		t.Errorf("shortened to %q", got)
	}
}

package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
)

func TestAManifestIsWhatItsReferencePins(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{[]byte("one")}
	ref, m := w.write()
	signed, err := w.repo.ReadSigned(t.Context(), ref)
	must(t, err)
	got, err := w.repo.Decode(ref, signed)
	m.OldestPack = time.Time{} // known to the writer alone
	if diff := cmp.Diff(m, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}

	for i := range signed {
		spoilt := bytes.Clone(signed)
		spoilt[i] ^= 1
		if _, err := w.repo.Decode(ref, spoilt); !errors.Is(err, ErrTampered) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		pinned := ref // even where the reference was forged as well
		pinned.Digest = digestOf(spoilt)
		if m, err := w.repo.Decode(pinned, spoilt); err == nil && !cmp.Equal(m, got) {
			t.Fatalf("byte %d changed: the manifest was taken", i)
		}
	}
}

func TestAManifestOfAnotherPlaceIsRefused(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{[]byte("one")}
	ref, _ := w.write()
	signed, err := w.repo.ReadSigned(t.Context(), ref)
	must(t, err)
	key, err := seal.Generate(rand.NewChaCha8([32]byte{77}))
	must(t, err)
	foreign, err := seal.NewRing(key)
	must(t, err)
	for name, c := range map[string]struct {
		change func(*Ref, *Repository)
		want   error
	}{
		"epoch":    {func(r *Ref, _ *Repository) { r.Epoch++ }, ErrTampered},
		"sequence": {func(r *Ref, _ *Repository) { r.Sequence++ }, ErrTampered},
		"id":       {func(r *Ref, _ *Repository) { r.ID = "x" }, ErrTampered},
		"digest":   {func(r *Ref, _ *Repository) { r.Digest = "" }, ErrTampered},
		"key":      {func(r *Ref, _ *Repository) { r.Key = "salvage/2026-03-01/" + r.ID + ".json" }, seal.ErrScope},
		"cluster":  {func(_ *Ref, r *Repository) { r.Cluster = "c-2" }, seal.ErrScope},
		"ring":     {func(_ *Ref, r *Repository) { r.Ring = foreign }, seal.ErrUnknownKey},
	} {
		ref, repo := ref, *w.repo
		c.change(&ref, &repo)
		if _, err := repo.Decode(ref, signed); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAManifestOfAnUnknownFormatIsRefused(t *testing.T) {
	w := newWorld(t)
	ref := Ref{ID: "a", Key: "backups/2026-03-01/a.json"}
	for _, payload := range []string{`{"format":2,"cluster":"c-1","id":"a"}`, `[]`} {
		signed, err := w.repo.Ring.Sign(w.repo.scope(ref), []byte(payload))
		must(t, err)
		ref.Digest = digestOf(signed)
		if _, err := w.repo.Decode(ref, signed); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

func TestAChainGoesBackToItsFirstBackup(t *testing.T) {
	w := newWorld(t)
	var want []Ref
	for i := range 5 {
		w.now = w.now.Add(time.Hour)
		w.app.state = [][]byte{{byte(i)}}
		ref, _ := w.write(func(o *Order) { o.Epoch = 1 + uint64(i/2) })
		want = append([]Ref{ref}, want...)
	}
	got, err := chain(t, w, want[0])
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%v\n%v", err, got, want)
	}

	// It ends where expiry has begun.
	must(t, w.store.Delete(t.Context(), want[3].Key))
	got, err = chain(t, w, want[0])
	if err != nil || !slices.Equal(got, want[:3]) {
		t.Errorf("%v\n%v", err, got)
	}
	// A tip that is missing is a failure; so is a link that was replaced.
	if _, err = chain(t, w, want[3]); !errors.Is(err, blobstore.ErrNotFound) {
		t.Errorf("missing tip: %v", err)
	}
	_, err = w.store.Memory.Put(t.Context(), want[2].Key, []byte("{}"), blobstore.Always)
	must(t, err)
	got, err = chain(t, w, want[0])
	if !errors.Is(err, ErrTampered) || len(got) != 2 {
		t.Errorf("replaced link: %v, %v", got, err)
	}
}

func chain(t *testing.T, w *world, tip Ref) (refs []Ref, err error) {
	t.Helper()
	for link, err := range w.repo.Chain(t.Context(), tip) {
		if err != nil {
			return refs, err
		}
		refs = append(refs, link.Ref)
	}
	return refs, nil
}

func TestAPredecessorIsOlder(t *testing.T) {
	w := newWorld(t)
	w.write()
	for _, c := range [][2]uint64{{1, 1}, {2, 1}, {0, 2}} {
		_, _, err := w.try(func(o *Order) { o.Epoch, o.Sequence = c[0], c[1] })
		if err == nil {
			t.Errorf("epoch %d, sequence %d follows epoch 1, sequence 1", c[0], c[1])
		}
	}
}

// The example of the package documentation is one that Decode takes.
func TestTheDocumentedManifestIsTrue(t *testing.T) {
	w := newWorld(t)
	w.app.state = [][]byte{[]byte("hello")}
	w.write(func(o *Order) { o.Random = rand.NewChaCha8([32]byte{5}) })
	w.now = w.now.Add(5 * time.Minute)
	_, m := w.write(func(o *Order) { o.Random = rand.NewChaCha8([32]byte{6}) })
	got, err := json.MarshalIndent(m, "", "  ")
	must(t, err)
	example := "//\t" + strings.ReplaceAll(string(got), "\n", "\n//\t") + "\n"
	doc, err := os.ReadFile("doc.go")
	must(t, err)
	if !strings.Contains(string(doc), example) {
		t.Errorf("doc.go should show this manifest:\n%s", example)
	}
}

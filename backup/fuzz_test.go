package backup

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal/sealtest"
)

// FuzzManifest: one that is signed rightly and says anything.
func FuzzManifest(f *testing.F) {
	ring := sealtest.NewRing(f, rand.NewChaCha8([32]byte{1}))
	r := &Repository{Ring: ring, Cluster: "c"}
	const id = "20260304T050607Z-e00000003-s00000007-aa"
	f.Add([]byte(`{"format":1,"cluster":"c","id":"` + id + `","epoch":3,"sequence":7}`))
	f.Add([]byte(`{"format":1,"cluster":"c","id":"` + id + `","epoch":3,"sequence":7,"previous":{"epoch":9},"sources":[{"name":"../x","root":{"depth":-1}}],"index":{"size":-1}}`))
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		ref, err := ParseID(id)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := ring.Sign(r.scope(ref), payload)
		if err != nil {
			return
		}
		ref.Digest = digestOf(signed)
		m, err := r.Decode(ref, signed)
		switch {
		case err == nil && (m.ID != id || m.Cluster != "c" || m.Format != Format || m.Epoch != 3 || m.Sequence != 7):
			t.Errorf("%+v", m)
		case err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTampered):
			t.Errorf("an error of no kind: %v", err)
		}
	})
}

// FuzzRefs: ids and keys of backups, which come from listings, heads, caches and
// whoever asks.
func FuzzRefs(f *testing.F) {
	for _, text := range []string{
		"20260304T050607Z-e00000003-s00000007-aa", "backups/2026-03-04/20260304T050607Z-e00000003-s00000007-aa.json",
		"salvage/2026-03-04/20260304T050607Z-e00000003-s00000007-aa.json", "../../etc/passwd", "20269999T999999Z-e1-s1-a",
		"20260304T050607Z-e999999999999999999-s999999999999999999-aa", "", "/", "a\x00b",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if ref, err := ParseID(text); err == nil && (ref.ID != text || strings.ContainsAny(text, "/\\\x00")) {
			t.Errorf("%q is the id %+v", text, ref)
		}
		if ref, err := ParseKey(text); err == nil && (ref.Key != text || strings.Contains(text, "..")) {
			t.Errorf("%q is the key %+v", text, ref)
		}
		var ref Ref
		if json.Unmarshal([]byte(text), &ref) == nil {
			_ = ref.check()
		}
	})
}

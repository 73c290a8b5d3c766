package seal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// FuzzRing: a key file, which people edit and carry.
func FuzzRing(f *testing.F) {
	ring := mustRing(f, testKey(1), testKey(2))
	f.Add(string(ring.File()))
	f.Add(testKey(1).Line())
	f.Add("# a comment\n\n" + testKey(1).Line() + " active\n" + testKey(2).Line() + " gone\n")
	f.Add(strings.Repeat(testKey(1).Line()+" active\n", 3))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRing(strings.NewReader(text))
		if err != nil {
			for _, secret := range []string{testKey(1).Line(), testKey(2).Line()} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells a key: %v", err)
				}
			}
			return
		}
		again, err := ParseRing(bytes.NewReader(r.File()))
		if err != nil || !bytes.Equal(again.File(), r.File()) {
			t.Errorf("the ring's own file does not give it back: %v", err)
		}
	})
}

// FuzzOpen: sealed values, of the configuration and of data keys.
func FuzzOpen(f *testing.F) {
	ring := mustRing(f, testKey(1), testKey(2))
	random := rand.NewChaCha8([32]byte{1})
	sealed, err := ring.SealConfig("c", "p", []byte("content"), random)
	if err != nil {
		f.Fatal(err)
	}
	keys, err := NewDataKeys(random)
	if err != nil {
		f.Fatal(err)
	}
	wrapped, err := ring.Wrap(keys, "c", random)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{sealed, wrapped, sealed[:20], "v1..", "v2.a.b", "v1." + testKey(1).ID() + ".AAAA"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := ring.OpenConfig("c", "p", text)
		if err == nil && string(secret) != "content" {
			t.Fatalf("forged: %q", secret)
		}
		if err != nil && !errors.Is(err, ErrSealed) && !errors.Is(err, ErrUnknownKey) {
			t.Fatalf("an error of no kind: %v", err)
		}
		if k, err := ring.Unwrap(text, "c"); err == nil && k != keys {
			t.Fatal("forged data keys")
		}
	})
}

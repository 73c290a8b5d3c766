package seal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func testRandom() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{99}) }

func testDataKeys(t *testing.T) DataKeys {
	t.Helper()
	k, err := NewDataKeys(testRandom())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestDataKeysUnwrapWithTheirClusterAndKeyOnly(t *testing.T) {
	ring, random := mustRing(t, testKey(1)), testRandom()
	keys := testDataKeys(t)
	wrapped, err := ring.Wrap(keys, "c-1", random)
	if err != nil {
		t.Fatal(err)
	}
	// A rotated ring still unwraps what the old key wrapped.
	rotated := mustRing(t, testKey(2), testKey(1))
	for _, r := range []*Ring{ring, rotated} {
		if got, err := r.Unwrap(wrapped, "c-1"); err != nil || !got.Equal(keys) {
			t.Errorf("got %v, %v", got, err)
		}
	}
	config, err := ring.SealConfig("c-1", "p", keys.bytes(), random)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ring    *Ring
		wrapped string
		cluster string
		want    error
	}{
		"another cluster":      {ring, wrapped, "c-2", ErrSealed},
		"another key":          {mustRing(t, testKey(2)), wrapped, "c-1", ErrUnknownKey},
		"changed":              {ring, wrapped[:len(wrapped)-8] + "AAAAAAAA", "c-1", ErrSealed},
		"cut short":            {ring, wrapped[:20], "c-1", ErrSealed},
		"not base64":           {ring, wrapped + "!", "c-1", ErrSealed},
		"another form":         {ring, "v2" + wrapped[2:], "c-1", ErrSealed},
		"empty":                {ring, "", "c-1", ErrSealed},
		"a sealed config":      {ring, config, "c-1", ErrSealed},
		"claiming another key": {rotated, strings.Replace(wrapped, testKey(1).ID(), testKey(2).ID(), 1), "c-1", ErrSealed},
	} {
		if got, err := c.ring.Unwrap(c.wrapped, c.cluster); !errors.Is(err, c.want) || got != (DataKeys{}) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestASealedSecretOpensForItsPurposeOnly(t *testing.T) {
	ring := mustRing(t, testKey(1))
	sealed, err := ring.SealConfig("c-1", "user alice", []byte("hunter2"), testRandom())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(sealed, "hunter2") {
		t.Error("it is not encrypted")
	}
	if got, err := ring.OpenConfig("c-1", "user alice", sealed); err != nil || string(got) != "hunter2" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, c := range [][2]string{{"c-2", "user alice"}, {"c-1", "user bob"}, {"c-1\x00user alice", ""}} {
		if _, err := ring.OpenConfig(c[0], c[1], sealed); !errors.Is(err, ErrSealed) {
			t.Errorf("%q: %v", c, err)
		}
	}
}

func TestEveryPackHasItsOwnKey(t *testing.T) {
	keys := testDataKeys(t)
	nonce := make([]byte, 12)
	seal := func(salt byte) []byte {
		aead, err := keys.PackAEAD(bytes.Repeat([]byte{salt}, 16))
		if err != nil {
			t.Fatal(err)
		}
		return aead.Seal(nil, nonce, []byte("content"), nil)
	}
	if bytes.Equal(seal(1), seal(2)) {
		t.Error("two salts give one key")
	}
	if !bytes.Equal(seal(1), seal(1)) {
		t.Error("one salt gives two keys")
	}
	if _, err := keys.PackAEAD([]byte("short")); err == nil {
		t.Error("a short salt is taken")
	}
}

func TestWrappingReportsARandomSourceThatFails(t *testing.T) {
	if _, err := mustRing(t, testKey(1)).Wrap(testDataKeys(t), "c-1", strings.NewReader("")); err == nil {
		t.Error("no error")
	}
}

package seal

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustRing(tb testing.TB, keys ...Key) *Ring {
	tb.Helper()
	r, err := NewRing(keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestRotationInTwoStepsIsVerifiableThroughout(t *testing.T) {
	old, fresh := testKey(1), testKey(2)
	before := mustRing(t, old)
	added, err := before.Add(fresh)
	if err != nil {
		t.Fatal(err)
	}
	activated, err := added.Activate(fresh.ID())
	if err != nil {
		t.Fatal(err)
	}
	retired, err := activated.Retire(old.ID())
	if err != nil {
		t.Fatal(err)
	}
	scope := Scope{Type: "head", Cluster: "c-1", Object: "head.json"}
	// Any two neighbouring stages read each other: instances are at most one
	// stage apart.
	stages := []*Ring{before, added, activated, retired}
	for i, signer := range stages {
		signed, err := signer.Sign(scope, []byte("content"))
		if err != nil {
			t.Fatal(err)
		}
		for j := max(0, i-1); j <= min(len(stages)-1, i+1); j++ {
			if _, err := stages[j].Verify(scope, signed); err != nil {
				t.Errorf("stage %d cannot read stage %d: %v", j, i, err)
			}
			if s := signer.NotificationSecret("c-1"); !slices.ContainsFunc(stages[j].NotificationSecrets("c-1"), func(k []byte) bool { return bytes.Equal(k, s) }) {
				t.Errorf("stage %d cannot accept a notification of stage %d", j, i)
			}
		}
	}
	want := []KeyInfo{{fresh.ID(), Active}, {old.ID(), Retiring}}
	if d := cmp.Diff(want, activated.Keys()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{fresh.ID()}, retired.IDs()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{old.ID()}, before.IDs()); d != "" {
		t.Errorf("a ring has changed: %s", d)
	}
}

func TestARingRefusesWhatWouldLeaveItUnusable(t *testing.T) {
	a, b := testKey(1), testKey(2)
	ring := mustRing(t, a)
	for name, do := range map[string]func() (*Ring, error){
		"no key":              func() (*Ring, error) { return NewRing() },
		"a zero key":          func() (*Ring, error) { return NewRing(Key{}) },
		"a key twice":         func() (*Ring, error) { return NewRing(a, a) },
		"adding a known key":  func() (*Ring, error) { return ring.Add(a) },
		"activating unknown":  func() (*Ring, error) { return ring.Activate(b.ID()) },
		"retiring unknown":    func() (*Ring, error) { return ring.Retire(b.ID()) },
		"retiring the active": func() (*Ring, error) { return ring.Retire(a.ID()) },
	} {
		if r, err := do(); err == nil {
			t.Errorf("%s: gave %v", name, r)
		}
	}
}

func TestAKeyFileReadsBack(t *testing.T) {
	ring, err := mustRing(t, testKey(2), testKey(1)).Add(testKey(3))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseRing(bytes.NewReader(ring.File()))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(ring.Keys(), got.Keys()); d != "" {
		t.Error(d)
	}
	lone, err := ParseRing(strings.NewReader("\ufeff# our key\r\n\r\n" + testKey(1).Line() + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]KeyInfo{{testKey(1).ID(), Active}}, lone.Keys()); d != "" {
		t.Error(d)
	}
}

func TestAMistakeInAKeyFileNamesItsLine(t *testing.T) {
	a, b := testKey(1).Line(), testKey(2).Line()
	for name, c := range map[string]struct{ file, want string }{
		"empty":            {"# nothing\n", "no key"},
		"no state":         {a + "\n" + b + " active\n", "line 1: with several keys"},
		"two active":       {a + " active\n" + b + " active\n", "exactly one key"},
		"none active":      {a + " added\n", "exactly one key"},
		"unknown state":    {"\n" + a + " actve\n", "line 2: "},
		"key cut short":    {a[:50] + " active\n", "line 1: not a usable key: wrong length"},
		"key in two parts": {a[:50] + " " + a[50:] + "\n", "line 1: not a usable key: after the key"},
		"not a key":        {"hello world\n", "line 1: not a usable key: a key begins"},
		"twice":            {a + " active\n" + a + " retiring\n", "twice"},
		"a very long line": {strings.Repeat("x", 1<<17), "read key file"},
	} {
		_, err := ParseRing(strings.NewReader(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), a[20:30]) || strings.Contains(err.Error(), a[50:60])) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
}

func TestNotificationSecretsDifferByClusterAndKey(t *testing.T) {
	a, b := mustRing(t, testKey(1)), mustRing(t, testKey(2))
	if bytes.Equal(a.NotificationSecret("c-1"), a.NotificationSecret("c-2")) {
		t.Error("two clusters have one secret")
	}
	if bytes.Equal(a.NotificationSecret("c-1"), b.NotificationSecret("c-1")) {
		t.Error("two keys have one secret")
	}
}

func TestAnUnknownKeyIdIsNamed(t *testing.T) {
	_, err := mustRing(t, testKey(1)).Activate("00000000")
	if !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), "00000000") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsWrittenOnceFollowsARotation(t *testing.T) {
	old, fresh, random := testKey(1), testKey(2), testRandom()
	before := mustRing(t, old)
	added, err := before.Add(fresh)
	if err != nil {
		t.Fatal(err)
	}
	activated, retired := mustRing(t, fresh, old), mustRing(t, fresh)
	scope := Scope{Type: "cluster", Cluster: "c-1", Object: "cluster.json"}
	sign := func(r *Ring) []byte {
		signed, err := r.Sign(scope, []byte("content"))
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	keys := testDataKeys(t)
	wrap := func(r *Ring) string {
		wrapped, err := r.Wrap(keys, "c-1", random)
		if err != nil {
			t.Fatal(err)
		}
		return wrapped
	}
	for name, c := range map[string]struct {
		from, by     *Ring
		resign, wrap bool // whether it is signed and wrapped anew
	}{
		"nothing happens":              {before, before, false, false},
		"the new key is only added":    {before, added, false, false},
		"the new key is active":        {before, activated, true, true},
		"it was active before":         {activated, activated, false, false},
		"another instance is ahead":    {activated, added, false, false},
		"the old key is retired":       {activated, retired, true, false},
		"another instance has retired": {retired, activated, false, false},
	} {
		signed, wrapped := sign(c.from), wrap(c.from)
		resigned, err := c.by.Resign(scope, signed)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if anew := !bytes.Equal(resigned, signed); anew != c.resign {
			t.Errorf("%s: signed anew: %v", name, anew)
		}
		if c.resign && !bytes.Equal(resigned, sign(c.by)) {
			t.Errorf("%s: got %s", name, resigned)
		}
		rewrapped, err := c.by.Rewrap(wrapped, "c-1", random)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if anew := rewrapped != wrapped; anew != c.wrap {
			t.Errorf("%s: wrapped anew: %v", name, anew)
		}
		sealed, err := c.from.SealConfig("c-1", "p", []byte("secret"), random)
		if err != nil {
			t.Fatal(err)
		}
		resealed, err := c.by.ResealConfig("c-1", "p", sealed, random)
		if anew := resealed != sealed; err != nil || anew != c.wrap {
			t.Errorf("%s: sealed anew: %v, %v", name, anew, err)
		}
		if got, err := c.by.OpenConfig("c-1", "p", resealed); err != nil || string(got) != "secret" {
			t.Errorf("%s: what was sealed is %q, %v", name, got, err)
		}
		if got, err := c.by.Unwrap(rewrapped, "c-1"); err != nil || !got.Equal(keys) {
			t.Errorf("%s: the data keys are %v, %v", name, got, err)
		}
	}
	if _, err := before.Resign(scope, sign(retired)); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("an object of another key is signed anew: %v", err)
	}
	if _, err := before.Rewrap(wrap(retired), "c-1", random); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("data keys under another key are wrapped anew: %v", err)
	}
}

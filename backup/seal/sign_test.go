package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

var headScope = Scope{Type: "head", Cluster: "c-7f3a", Object: "head.json"}

// goldenKeys are keys made for testdata only.
const goldenKeys = "testdata/ring.txt"

func goldenRing(tb testing.TB) *Ring {
	tb.Helper()
	file, err := os.ReadFile(goldenKeys)
	if err != nil {
		tb.Fatal(err)
	}
	ring, err := ParseRing(bytes.NewReader(file))
	if err != nil {
		tb.Fatal(err)
	}
	return ring
}

func golden(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.TrimSuffix(b, []byte("\n"))
}

func TestTheFormatHasNotDrifted(t *testing.T) {
	ring := goldenRing(t)
	payload, want := golden(t, "head.json"), golden(t, "head.jws.json")
	signed, err := ring.Sign(headScope, payload)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(signed)); d != "" {
		t.Errorf("Sign gives another form than testdata pins:\n%s", d)
	}
	got, err := ring.Verify(headScope, want)
	if err != nil || !bytes.Equal(got, payload) {
		t.Errorf("Verify of testdata: %q, %v", got, err)
	}
	keys, err := ring.Unwrap(string(golden(t, "wrapped.txt")), "c-7f3a")
	if err != nil || keys.ID() != "73e16789" {
		t.Errorf("Unwrap of testdata: %v, %v", keys, err)
	}
	secret, err := ring.OpenConfig("c-7f3a", "user alice", string(golden(t, "sealed.txt")))
	if err != nil || string(secret) != "a secret" {
		t.Errorf("OpenConfig of testdata: %q, %v", secret, err)
	}
}

func TestAStandardLibraryReadsASignedObject(t *testing.T) {
	ring := mustRing(t, testKey(2), testKey(1))
	signed, err := ring.Sign(headScope, []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedJSON(string(signed), []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []Key{testKey(1), testKey(2)} {
		_, s, payload, err := jws.VerifyMulti(signingKey(k))
		if err != nil || string(payload) != "content" || s.Protected.KeyID != k.ID() {
			t.Errorf("key %s: %q, %v", k.ID(), payload, err)
		}
	}
}

func TestAnEmptyPayloadIsAPayload(t *testing.T) {
	ring := mustRing(t, testKey(1))
	signed, err := ring.Sign(headScope, nil)
	if err != nil {
		t.Fatal(err)
	}
	if payload, err := ring.Verify(headScope, signed); err != nil || len(payload) != 0 {
		t.Errorf("got %q, %v", payload, err)
	}
}

// object is a signed object taken apart, for the tests to put together wrongly.
type object struct {
	signedObject
	t *testing.T
}

func newObject(t *testing.T, r *Ring, scope Scope) *object {
	t.Helper()
	signed, err := r.Sign(scope, []byte(`{"epoch":7}`))
	if err != nil {
		t.Fatal(err)
	}
	o := &object{t: t}
	if err := json.Unmarshal(signed, &o.signedObject); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *object) bytes() []byte {
	b, err := json.Marshal(o.signedObject)
	if err != nil {
		o.t.Fatal(err)
	}
	return b
}

// header replaces the protected header of one signature, leaving the
// signature; resign makes a signature of it with k, as a holder of k could.
func (o *object) header(i int, fields map[string]any) *object {
	h, err := json.Marshal(fields)
	if err != nil {
		o.t.Fatal(err)
	}
	o.Signatures[i].Protected = base64.RawURLEncoding.EncodeToString(h)
	return o
}

func resigned(t *testing.T, k Key, alg jose.SignatureAlgorithm, extra map[jose.HeaderKey]any) []byte {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("understudy-head").WithHeader("kid", k.ID()).
		WithHeader("cluster", "c-7f3a").WithHeader("object", "head.json")
	for name, v := range extra {
		options.WithHeader(name, v)
		if v == nil {
			delete(options.ExtraHeaders, name)
		}
	}
	key := append(signingKey(k), signingKey(k)...)
	if alg == jose.HS256 {
		key = signingKey(k)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	flat := jws.FullSerialize()
	var f struct{ Payload, Protected, Signature string }
	if err := json.Unmarshal([]byte(flat), &f); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(signedObject{f.Payload, []signature{{f.Protected, f.Signature}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerifyFailsClosed(t *testing.T) {
	ours, theirs, extra := testKey(1), testKey(2), testKey(3)
	ring := mustRing(t, ours)
	both := mustRing(t, ours, theirs)
	good := func() *object { return newObject(t, ring, headScope) }
	header := func() map[string]any {
		return map[string]any{"alg": "HS256", "cluster": "c-7f3a", "kid": ours.ID(), "object": "head.json", "typ": "understudy-head"}
	}
	with := func(name string, v any) map[string]any { h := header(); h[name] = v; return h }
	raw := func(edit func(string) string) []byte { return []byte(edit(string(good().bytes()))) }
	scoped := func(s Scope) []byte { return newObject(t, ring, s).bytes() }

	for _, c := range []struct {
		name   string
		signed []byte
		kind   error
		want   string
	}{
		{"another cluster's object", scoped(Scope{"head", "c-other", "head.json"}), ErrScope, `its cluster is "c-other", not "c-7f3a": it belongs to another cluster`},
		{"an object from another key", scoped(Scope{"head", "c-7f3a", "old/head.json"}), ErrScope, `its object is "old/head.json"`},
		{"an object of another type", scoped(Scope{"lease", "c-7f3a", "head.json"}), ErrScope, `its typ is "understudy-lease"`},
		{"a key of another cluster", newObject(t, mustRing(t, theirs), headScope).bytes(), ErrUnknownKey, theirs.ID()},
		{"a changed payload", func() []byte {
			o := good()
			o.Payload = base64.RawURLEncoding.EncodeToString([]byte(`{"epoch":8}`))
			return o.bytes()
		}(), ErrSignature, "changed after key " + ours.ID()},
		{"a changed header", good().header(0, with("object", "lease.json")).bytes(), ErrSignature, "changed"},
		{"a changed signature", func() []byte {
			o := good()
			o.Signatures[0].Signature = newObject(t, mustRing(t, theirs), headScope).Signatures[0].Signature
			return o.bytes()
		}(), ErrSignature, "changed"},
		{"alg none", good().header(0, with("alg", "none")).bytes(), ErrSignature, "algorithm"},
		{"alg none without a signature", func() []byte {
			o := good().header(0, with("alg", "none"))
			o.Signatures[0].Signature = ""
			return o.bytes()
		}(), ErrSignature, "algorithm"},
		{"alg HS512 with our key", resigned(t, ours, jose.HS512, nil), ErrSignature, "algorithm"},
		{"no alg", good().header(0, map[string]any{"kid": ours.ID()}).bytes(), ErrSignature, "algorithm"},
		{"an unknown critical header", resigned(t, ours, jose.HS256, map[jose.HeaderKey]any{"crit": []string{"exp"}}), ErrSignature, ""},
		{"an unencoded payload", resigned(t, ours, jose.HS256, map[jose.HeaderKey]any{"b64": true, "crit": []string{"b64"}}), ErrSignature, "not expected"},
		{"an unexpected header field", resigned(t, ours, jose.HS256, map[jose.HeaderKey]any{"exp": 1}), ErrSignature, `"exp"`},
		{"no cluster in the header", resigned(t, ours, jose.HS256, map[jose.HeaderKey]any{"cluster": nil}), ErrScope, "cluster"},
		{"a cluster that is no string", resigned(t, ours, jose.HS256, map[jose.HeaderKey]any{"cluster": 7}), ErrScope, "cluster"},
		{"no key id", resigned(t, ours, jose.HS256, map[jose.HeaderKey]any{"kid": nil}), ErrUnknownKey, ""},
		{"no signatures", []byte(`{"payload":"e30","signatures":[]}`), ErrSignature, "no signature"},
		{"signatures stripped", []byte(`{"payload":"e30"}`), ErrSignature, "no signature"},
		{"an empty signature", []byte(`{"payload":"e30","signatures":[{}]}`), ErrSignature, ""},
		{"null", []byte(`null`), ErrSignature, "no signature"},
		{"nothing", nil, ErrSignature, "not a signed object"},
		{"plain JSON", []byte(`{"epoch":7}`), ErrSignature, "not a signed object"},
		{"cut short", raw(func(s string) string { return s[:len(s)/2] }), ErrSignature, "not a signed object"},
		{"two objects", raw(func(s string) string { return s + s }), ErrSignature, "something follows"},
		{"an unprotected header", raw(func(s string) string {
			return strings.Replace(s, `{"protected"`, `{"header":{"kid":"x"},"protected"`, 1)
		}), ErrSignature, "unknown field"},
		{"a flattened JWS", raw(func(s string) string {
			return strings.NewReplacer(`"signatures":[{`, ``, `}]`, ``).Replace(s)
		}), ErrSignature, "unknown field"},
		{"a dot in a part", raw(func(s string) string { return strings.Replace(s, `"payload":"`, `"payload":"e30.`, 1) }), ErrSignature, ""},
		{"a foreign signature beside a wrong one", func() []byte {
			o := newObject(t, both, headScope)
			o.Signatures[0].Signature = o.Signatures[1].Signature
			return o.bytes()
		}(), ErrSignature, "changed"},
		{"a flood of signatures", func() []byte {
			o := newObject(t, mustRing(t, extra), headScope)
			for range 20 {
				o.Signatures = append(o.Signatures, o.Signatures[0])
			}
			return o.bytes()
		}(), ErrSignature, "signatures"},
	} {
		t.Run(c.name, func(t *testing.T) {
			payload, err := ring.Verify(headScope, c.signed)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %v: …%s…", err, c.kind, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), "head.json") {
				t.Errorf("the error does not name the object: %v", err)
			}
			if payload != nil {
				t.Errorf("a payload of %d bytes was given out", len(payload))
			}
		})
	}
}

func TestAnUnknownKeyErrorSaysWhatToDo(t *testing.T) {
	signed, err := mustRing(t, testKey(2), testKey(3)).Sign(headScope, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = mustRing(t, testKey(1)).Verify(headScope, signed)
	for _, want := range []string{testKey(1).ID(), testKey(2).ID(), testKey(3).ID(), "this instance has", "another key", "understudy key"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestAnyByteChangedIsNoticed(t *testing.T) {
	ring := mustRing(t, testKey(1))
	signed, err := ring.Sign(headScope, []byte(`{"epoch":7}`))
	if err != nil {
		t.Fatal(err)
	}
	for i := range signed {
		changed := bytes.Clone(signed)
		changed[i] ^= 0x01
		payload, err := ring.Verify(headScope, changed)
		// base64 leaves bits unused, and JSON names fold case: a change there
		// changes nothing that was signed.
		if err == nil && string(payload) != `{"epoch":7}` {
			t.Fatalf("byte %d changed: gave %q", i, payload)
		}
	}
}

func FuzzVerify(f *testing.F) {
	ring := mustRing(f, testKey(1))
	other := mustRing(f, testKey(2), testKey(1))
	for _, r := range []*Ring{ring, other} {
		signed, err := r.Sign(headScope, []byte("content"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(signed)
		f.Add(signed[:len(signed)/2])
	}
	f.Add([]byte(`{"payload":"e30","signatures":[{"protected":"e30","signature":""}]}`))
	f.Fuzz(func(t *testing.T, signed []byte) {
		payload, err := ring.Verify(headScope, signed)
		switch {
		case err == nil && string(payload) != "content":
			t.Fatalf("forged: %q", payload)
		case err != nil && payload != nil:
			t.Fatal("a payload beside an error")
		case err != nil && !errors.Is(err, ErrSignature) && !errors.Is(err, ErrUnknownKey) && !errors.Is(err, ErrScope):
			t.Fatalf("error of no kind: %v", err)
		}
	})
}

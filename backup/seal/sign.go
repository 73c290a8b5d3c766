package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

const (
	algorithm  = jose.HS256
	typePrefix = "understudy-"

	headerCluster = "cluster"
	headerObject  = "object"

	// maxSignatures bounds the work that a forged object can ask for.
	maxSignatures = 16
)

// Scope is what a signature covers besides the content: it binds an object to
// its type, its cluster and its key in the bucket.
type Scope struct {
	Type    string // "head", "lease", "manifest", …
	Cluster string // cluster id
	Object  string // key in the bucket
}

func (s Scope) String() string { return s.Type + " " + s.Object }

// signedObject is a JWS in general JSON serialization (RFC 7515, 7.2.1).
type signedObject struct {
	Payload    string      `json:"payload"`
	Signatures []signature `json:"signatures"`
}

type signature struct {
	Protected string `json:"protected"`
	Signature string `json:"signature"`
}

// Sign makes a JWS (general JSON serialization, HS256) of payload, with one
// signature by each key of the ring that is active or retiring. The same ring,
// scope and payload give the same bytes.
func (r *Ring) Sign(scope Scope, payload []byte) ([]byte, error) {
	var object signedObject
	for _, m := range r.members {
		if m.state == Added {
			continue
		}
		compact, err := signCompact(m.key, scope, payload)
		if err != nil {
			return nil, fmt.Errorf("sign %s with key %s: %w", scope, m.key.ID(), err)
		}
		part := strings.Split(compact, ".")
		object.Payload = part[1]
		object.Signatures = append(object.Signatures, signature{Protected: part[0], Signature: part[2]})
	}
	signed, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", scope, err)
	}
	return signed, nil
}

// signCompact makes one signature, as a JWS in compact serialization.
func signCompact(k Key, scope Scope, payload []byte) (string, error) {
	options := (&jose.SignerOptions{}).
		WithType(jose.ContentType(typePrefix+scope.Type)).
		WithHeader("kid", k.ID()).
		WithHeader(headerCluster, scope.Cluster).
		WithHeader(headerObject, scope.Object)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: signingKey(k)}, options)
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

func signingKey(k Key) []byte { return k.derive("signature", 32) }

// Verify checks a JWS against the ring and the scope and returns its payload.
// It fails closed with an error that says which object, which key id and what
// to do (ErrUnknownKey, ErrSignature, ErrScope).
func (r *Ring) Verify(scope Scope, signed []byte) ([]byte, error) {
	v, err := r.verify(scope, signed)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", scope, err)
	}
	return v.payload, nil
}

// Resign verifies a signed object as Verify does and signs its content anew,
// unless the ring's active key has signed it and no key that the ring does not
// know has: then it gives the very same bytes. What is written once and read
// for ever follows a rotation so.
func (r *Ring) Resign(scope Scope, signed []byte) ([]byte, error) {
	v, err := r.verify(scope, signed)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", scope, err)
	}
	if len(v.unknown) == 0 && slices.Contains(v.known, r.active().ID()) {
		return signed, nil
	}
	return r.Sign(scope, v.payload)
}

// verified is the content of a signed object and whose signatures it carries.
type verified struct {
	payload []byte
	known   []string // ids of the ring's keys that signed it
	unknown []string // quoted ids that nothing can be said about
}

func (r *Ring) verify(scope Scope, signed []byte) (verified, error) {
	object, err := parseSigned(signed)
	if err != nil {
		return verified{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	var v verified
	for _, s := range object.Signatures {
		// A compact JWS has no place for an unprotected header.
		jws, err := jose.ParseSignedCompact(s.Protected+"."+object.Payload+"."+s.Signature, []jose.SignatureAlgorithm{algorithm})
		if err != nil {
			return verified{}, fmt.Errorf("%w: %w", ErrSignature, err)
		}
		id := jws.Signatures[0].Protected.KeyID
		i, err := r.find(id)
		if err != nil {
			v.unknown = append(v.unknown, fmt.Sprintf("%.16q", id))
			continue
		}
		payload, err := jws.Verify(signingKey(r.members[i].key))
		if err != nil {
			return verified{}, fmt.Errorf("%w: it was changed after key %s signed it, or that key did not sign it", ErrSignature, id)
		}
		if err := scope.check(jws.Signatures[0].Protected); err != nil {
			return verified{}, err
		}
		v.payload, v.known = payload, append(v.known, id)
	}
	if len(v.known) == 0 {
		return verified{}, fmt.Errorf("%w: signed with key %s, but this instance has %s, another key: paste the cluster's key (understudy key add)",
			ErrUnknownKey, strings.Join(v.unknown, ", "), r)
	}
	return v, nil
}

// parseSigned reads the outer form and nothing that it does not know.
func parseSigned(signed []byte) (signedObject, error) {
	var object signedObject
	d := json.NewDecoder(bytes.NewReader(signed))
	d.DisallowUnknownFields()
	if err := d.Decode(&object); err != nil {
		return object, fmt.Errorf("not a signed object: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return object, errors.New("not a signed object: something follows it")
	}
	switch n := len(object.Signatures); {
	case n == 0:
		return object, errors.New("it has no signature")
	case n > maxSignatures:
		return object, fmt.Errorf("it has %d signatures, more than %d", n, maxSignatures)
	}
	return object, nil
}

// check compares a verified protected header with the scope, field by field,
// and refuses any field that Sign does not write ("crit" and "b64" among them).
func (s Scope) check(h jose.Header) error {
	want := map[jose.HeaderKey]string{
		jose.HeaderType: typePrefix + s.Type,
		headerCluster:   s.Cluster,
		headerObject:    s.Object,
	}
	if h.JSONWebKey != nil || h.Nonce != "" {
		return fmt.Errorf("%w: its header has a field that is not expected", ErrSignature)
	}
	for name := range h.ExtraHeaders {
		if _, known := want[name]; !known {
			return fmt.Errorf("%w: its header has the field %q, which is not expected", ErrSignature, name)
		}
	}
	for _, name := range []jose.HeaderKey{headerCluster, jose.HeaderType, headerObject} {
		if got, _ := h.ExtraHeaders[name].(string); got != want[name] {
			return fmt.Errorf("%w: its %s is %q, not %q%s", ErrScope, name, got, want[name], scopeAdvice[name])
		}
	}
	return nil
}

var scopeAdvice = map[jose.HeaderKey]string{
	headerCluster: ": it belongs to another cluster: check UNDERSTUDY_BUCKET",
	headerObject:  ": it was copied or moved inside the bucket",
}

// Package seal holds the shared key and everything derived from it:
// signatures (JWS), authenticated encryption, and the wrapping of data keys.
// It imports nothing of this project.
package seal

import "io"

// Key is one shared authentication key.
type Key struct {
	secret [32]byte
}

// Generate makes a new key from random.
func Generate(random io.Reader) (Key, error) { panic("skeleton") }

// ParseKey reads the printable, checksummed line that Line gives.
func ParseKey(line string) (Key, error) { panic("skeleton") }

// Line is the printable form, made to be pasted. It is the secret itself.
func (k Key) Line() string { panic("skeleton") }

// ID names the key without telling anything about it: 8 hex digits.
func (k Key) ID() string { panic("skeleton") }

// Ring is the keys that an instance knows, newest first. The first active one
// signs and wraps; every one in force (active or on its way out) signs control
// objects, so that an instance with either key can verify them.
type Ring struct{ keys []Key }

// NewRing makes a ring of keys, newest first.
func NewRing(keys ...Key) (*Ring, error) { panic("skeleton") }

// Scope is what a signature covers besides the content: it binds an object to
// its type, its cluster and its key in the bucket.
type Scope struct {
	Type    string // "head", "lease", "manifest", …
	Cluster string // cluster id
	Object  string // key in the bucket
}

// Sign makes a JWS (general JSON serialization, HS256) of payload, with one
// signature by each key of the ring.
func (r *Ring) Sign(scope Scope, payload []byte) ([]byte, error) { panic("skeleton") }

// Verify checks a JWS against the ring and the scope and returns its payload.
// It fails closed with an error that says which object, which key id and what
// to do (ErrUnknownKey, ErrSignature, ErrScope).
func (r *Ring) Verify(scope Scope, signed []byte) ([]byte, error) { panic("skeleton") }

// IDs lists the key ids, newest first.
func (r *Ring) IDs() []string { panic("skeleton") }

// NotificationSecret is the secret of the Standard Webhooks signatures between
// the instances of one cluster.
func (r *Ring) NotificationSecret(cluster string) []byte { panic("skeleton") }

package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// minSalt is the least number of random bytes that make a pack's key its own.
const minSalt = 16

// DataKeys are the random keys that a cluster's data is under: one encrypts
// packs and parts of streams, one makes chunk ids and chunk boundaries. They travel wrapped by the
// shared key, so that a new shared key re-uploads nothing.
type DataKeys struct {
	Encrypt [32]byte
	Chunk   [32]byte
}

// NewDataKeys makes new data keys from random.
func NewDataKeys(random io.Reader) (DataKeys, error) {
	var k DataKeys
	for _, part := range [][]byte{k.Encrypt[:], k.Chunk[:]} {
		if _, err := io.ReadFull(random, part); err != nil {
			return DataKeys{}, fmt.Errorf("make data keys: %w", err)
		}
	}
	return k, nil
}

// ID names the data keys without telling anything about them: 8 hex digits.
func (k DataKeys) ID() string {
	return hex.EncodeToString(derive(k.bytes(), nil, "data key id", 4))
}

func (k DataKeys) bytes() []byte { return append(k.Encrypt[:], k.Chunk[:]...) }

// Equal reports whether both are the same keys.
func (k DataKeys) Equal(other DataKeys) bool {
	return subtle.ConstantTimeCompare(k.bytes(), other.bytes()) == 1
}

// Wrap encrypts data keys under the ring's active key, for one cluster. The
// answer is a printable string.
func (r *Ring) Wrap(k DataKeys, cluster string, random io.Reader) (string, error) {
	wrapped, err := r.seal(wrapping, cluster, k.bytes(), random)
	if err != nil {
		return "", fmt.Errorf("wrap data keys: %w", err)
	}
	return wrapped, nil
}

// Unwrap decrypts what Wrap gave, with the key of the ring that it names
// (ErrUnknownKey, ErrSealed).
func (r *Ring) Unwrap(wrapped, cluster string) (DataKeys, error) {
	raw, err := r.open(wrapping, cluster, wrapped)
	if err != nil {
		return DataKeys{}, fmt.Errorf("unwrap data keys: %w", err)
	}
	var k DataKeys
	if len(raw) != len(k.Encrypt)+len(k.Chunk) {
		return DataKeys{}, fmt.Errorf("unwrap data keys: %w: they are %d bytes long", ErrSealed, len(raw))
	}
	copy(k.Encrypt[:], raw)
	copy(k.Chunk[:], raw[len(k.Encrypt):])
	return k, nil
}

// Rewrap wraps data keys anew under the ring's active key when the key that
// they are under is on its way out (retiring). Otherwise it gives wrapped back:
// a key that another instance has activated first is left in place.
func (r *Ring) Rewrap(wrapped, cluster string, random io.Reader) (string, error) {
	k, err := r.Unwrap(wrapped, cluster)
	if err != nil {
		return "", err
	}
	if m, _, err := r.sealer(wrapped); err != nil || m.state != Retiring {
		return wrapped, err
	}
	return r.Wrap(k, cluster, random)
}

// PackAEAD is the AEAD of one pack: AES-256-GCM under a key derived from the
// data keys and the pack's random salt, which has at least 16 bytes. Every
// pack has its own key, so a counter serves as nonce.
func (k DataKeys) PackAEAD(salt []byte) (AEAD, error) {
	if len(salt) < minSalt {
		return nil, errors.New("derive pack key: the salt is too short")
	}
	return newGCM(derive(k.Encrypt[:], salt, "pack", 32))
}

// PartAEAD is PackAEAD of one part of a stream. It encrypts one plaintext alone.
func (k DataKeys) PartAEAD(salt []byte) (AEAD, error) {
	if len(salt) < minSalt {
		return nil, errors.New("derive the key of a part: the salt is too short")
	}
	return newGCM(derive(k.Encrypt[:], salt, "stream part", 32))
}

// AEAD is cipher.AEAD.
type AEAD = cipher.AEAD

func newGCM(key []byte) (AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

// String shows the id, never the keys.
func (k DataKeys) String() string { return "data keys " + k.ID() }

// GoString shows the id, never the keys.
func (k DataKeys) GoString() string { return "seal.DataKeys(" + k.ID() + ")" }

// Format shows the id, never the keys, whatever the verb.
func (k DataKeys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue shows the id, never the keys.
func (k DataKeys) LogValue() slog.Value { return slog.StringValue(k.ID()) }

// MarshalText shows the id, never the keys, in JSON and its like: data keys
// travel wrapped only.
func (k DataKeys) MarshalText() ([]byte, error) { return []byte(k.ID()), nil }

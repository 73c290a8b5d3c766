package seal

import "io"

// DataKeys are the random keys that a cluster's data is under: one encrypts
// packs, one makes chunk ids and chunk boundaries. They travel wrapped by the
// shared key, so that a new shared key re-uploads nothing.
type DataKeys struct {
	Encrypt [32]byte
	Chunk   [32]byte
}

// ID names the data keys without telling anything about them: 8 hex digits.
func (k DataKeys) ID() string { panic("skeleton") }

// NewDataKeys makes new data keys from random.
func NewDataKeys(random io.Reader) (DataKeys, error) { panic("skeleton") }

// Wrap encrypts data keys under the ring's newest key, for one cluster. The
// answer is a printable string.
func (r *Ring) Wrap(k DataKeys, cluster string, random io.Reader) (string, error) {
	panic("skeleton")
}

// Unwrap decrypts what Wrap gave, with whichever key of the ring fits.
func (r *Ring) Unwrap(wrapped, cluster string) (DataKeys, error) { panic("skeleton") }

// PackAEAD is the AEAD of one pack: AES-256-GCM under a key derived from the
// data keys and the pack's random salt. Every pack has its own key, so a
// counter serves as nonce.
func (k DataKeys) PackAEAD(salt []byte) (AEAD, error) { panic("skeleton") }

// AEAD is cipher.AEAD.
type AEAD interface {
	NonceSize() int
	Overhead() int
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
}

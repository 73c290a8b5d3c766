package seal

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

const envelopeVersion = "v1"

// use is what a sealed value is for; each has a key of its own.
type use string

const (
	wrapping      use = "wrapping"
	configuration use = "configuration"
)

// SealConfig encrypts a secret of the shared configuration under the ring's
// active key. The answer is a printable string that opens for the same
// cluster and purpose ("user alice") only.
func (r *Ring) SealConfig(cluster, purpose string, secret []byte, random io.Reader) (string, error) {
	sealed, err := r.seal(configuration, cluster+"\x00"+purpose, secret, random)
	if err != nil {
		return "", fmt.Errorf("seal %s: %w", purpose, err)
	}
	return sealed, nil
}

// OpenConfig decrypts what SealConfig gave, with the key of the ring that it
// names (ErrUnknownKey, ErrSealed).
func (r *Ring) OpenConfig(cluster, purpose, sealed string) ([]byte, error) {
	secret, err := r.open(configuration, cluster+"\x00"+purpose, sealed)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", purpose, err)
	}
	return secret, nil
}

// ResealConfig seals what SealConfig gave anew under the ring's active key when
// the key that it is under is on its way out, as Rewrap does; otherwise it gives
// sealed back.
func (r *Ring) ResealConfig(cluster, purpose, sealed string, random io.Reader) (string, error) {
	secret, err := r.OpenConfig(cluster, purpose, sealed)
	if err != nil {
		return "", err
	}
	if m, _, err := r.sealer(sealed); err != nil || m.state != Retiring {
		return sealed, err
	}
	return r.SealConfig(cluster, purpose, secret, random)
}

// seal encrypts under the active key, bound to a context. Nonces are random:
// one key may seal 2^32 values, a thousand years of backups.
func (r *Ring) seal(u use, context string, plaintext []byte, random io.Reader) (string, error) {
	k := r.active()
	aead, err := newGCM(k.derive(string(u), 32))
	if err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plaintext)+aead.Overhead())
	if _, err := io.ReadFull(random, nonce); err != nil {
		return "", fmt.Errorf("make nonce: %w", err)
	}
	sealed := aead.Seal(nonce, nonce, plaintext, associated(u, context))
	return strings.Join([]string{envelopeVersion, k.ID(), base64.RawURLEncoding.EncodeToString(sealed)}, "."), nil
}

// open decrypts what seal gave.
func (r *Ring) open(u use, context, text string) ([]byte, error) {
	m, encoded, err := r.sealer(text)
	if err != nil {
		return nil, err
	}
	sealed, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	aead, err := newGCM(m.key.derive(string(u), 32))
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, fmt.Errorf("%w: it is too short", ErrSealed)
	}
	nonce, ciphertext := sealed[:aead.NonceSize()], sealed[aead.NonceSize():]
	plaintext, err := aead.Open(nil, nonce, ciphertext, associated(u, context))
	if err != nil {
		return nil, fmt.Errorf("%w: it was changed, or belongs to another cluster or place", ErrSealed)
	}
	return plaintext, nil
}

// sealer finds the key that a sealed value says it is under, and gives what
// that key sealed.
func (r *Ring) sealer(text string) (m member, sealed string, err error) {
	part := strings.Split(text, ".")
	if len(part) != 3 || part[0] != envelopeVersion {
		return m, "", fmt.Errorf("%w: it is not a sealed value of a form that is known here", ErrSealed)
	}
	i, err := r.find(part[1])
	if err != nil {
		return m, "", fmt.Errorf("%w: paste the cluster's key (understudy key add)", err)
	}
	return r.members[i], part[2], nil
}

func associated(u use, context string) []byte {
	return []byte("understudy v1 " + string(u) + "\x00" + context)
}

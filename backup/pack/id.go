package pack

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// ID names a chunk: a keyed hash of its plaintext, which tells nothing about
// the content to someone without the key. (Text form: base64url, unpadded.)
type ID [32]byte

// String is the text form.
func (id ID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// AppendText appends the text form.
func (id ID) AppendText(b []byte) ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(b, id[:]), nil
}

// MarshalText gives the text form.
func (id ID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText reads the text form.
func (id *ID) UnmarshalText(text []byte) error { return decodeBase64(id[:], text, "chunk id") }

// Digest names a pack: the SHA-256 of its ciphertext. (Text form: hex.)
type Digest [32]byte

// String is the text form.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Key is the pack's key in the bucket: packs/<aa>/<digest>.
func (d Digest) Key() string {
	text := d.String()
	return "packs/" + text[:2] + "/" + text
}

// MarshalText gives the text form.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads the text form.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("read pack digest: %d characters instead of %d", len(text), hex.EncodedLen(len(d)))
	}
	if _, err := hex.Decode(d[:], text); err != nil {
		return fmt.Errorf("read pack digest: %w", err)
	}
	return nil
}

// Salt makes the key of one pack. (Text form: base64url, unpadded.)
type Salt [16]byte

// MarshalText gives the text form.
func (s Salt) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, s[:]), nil
}

// UnmarshalText reads the text form.
func (s *Salt) UnmarshalText(text []byte) error { return decodeBase64(s[:], text, "salt") }

// decodeBase64 fills dst exactly.
func decodeBase64(dst, text []byte, what string) error {
	if len(text) != base64.RawURLEncoding.EncodedLen(len(dst)) {
		return fmt.Errorf("read %s: %d characters instead of %d",
			what, len(text), base64.RawURLEncoding.EncodedLen(len(dst)))
	}
	if _, err := base64.RawURLEncoding.Decode(dst, text); err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return nil
}

// shortID is as much of an id as it takes to tell the chunks of one backup
// apart: they are keyed hashes, so that nobody can make two begin alike.
type shortID [16]byte

func (id ID) short() shortID { return shortID(id[:16]) }

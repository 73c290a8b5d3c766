package seal

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"strings"
)

const (
	linePrefix  = "understudy_key1_"
	lineFamily  = "understudy_key"
	secretSize  = 32
	encodedSize = 58 // base32 of the secret and its checksum
)

// crockford leaves out the letters that are taken for others.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var (
	crockford = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)
	lookalike = strings.NewReplacer("o", "0", "i", "1", "l", "1")
)

// Key is one shared authentication key. The zero Key is no key.
type Key struct {
	// A function, because fmt prints an unexported field of a caller's struct
	// without asking the methods below, and nothing can print what a function
	// would return.
	secret func() []byte
	id     string
}

func newKey(secret []byte) Key {
	k := Key{secret: func() []byte { return secret }}
	k.id = hex.EncodeToString(k.derive("key id", 4))
	return k
}

// Generate makes a new key from random.
func Generate(random io.Reader) (Key, error) {
	secret := make([]byte, secretSize)
	if _, err := io.ReadFull(random, secret); err != nil {
		return Key{}, fmt.Errorf("generate key: %w", err)
	}
	return newKey(secret), nil
}

// ParseKey reads the printable, checksummed line that Line gives. White space
// around it is ignored. Its errors wrap ErrKey, name the one thing that is
// wrong, and never repeat the line.
func ParseKey(line string) (Key, error) {
	line = strings.ToLower(strings.TrimSpace(line))
	body, found := strings.CutPrefix(line, linePrefix)
	switch {
	case line == "":
		return Key{}, fmt.Errorf("%w: it is empty", ErrKey)
	case !found && strings.HasPrefix(line, lineFamily):
		return Key{}, fmt.Errorf("%w: it is incomplete, or was made by another version of Understudy: a key begins with %s", ErrKey, linePrefix)
	case !found:
		return Key{}, fmt.Errorf("%w: a key begins with %s (understudy key generate makes one)", ErrKey, linePrefix)
	case strings.ContainsFunc(body, isSpace):
		return Key{}, fmt.Errorf("%w: it is broken by white space: a key is one line without spaces", ErrKey)
	}
	body = lookalike.Replace(body)
	for i, c := range body {
		if !strings.ContainsRune(alphabet, c) {
			return Key{}, fmt.Errorf("%w: the character at position %d cannot be in a key: one character is mistyped", ErrKey, len(linePrefix)+i+1)
		}
	}
	if len(body) != encodedSize {
		return Key{}, fmt.Errorf("%w: wrong length: it has %d characters, a whole key has %d",
			ErrKey, len(linePrefix)+len(body), len(linePrefix)+encodedSize)
	}
	raw, err := crockford.DecodeString(body)
	if err != nil {
		return Key{}, fmt.Errorf("%w: it cannot be decoded", ErrKey)
	}
	k := newKey(raw[:secretSize:secretSize])
	// Comparing the text, not the bytes, also covers the unused last two bits.
	if subtle.ConstantTimeCompare([]byte(k.Line()), []byte(linePrefix+body)) == 0 {
		return Key{}, fmt.Errorf("%w: wrong checksum: at least one character is mistyped", ErrKey)
	}
	return k, nil
}

func isSpace(c rune) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\u00a0' }

// Line is the printable form, made to be pasted. It is the secret itself. The
// zero Key has none.
func (k Key) Line() string {
	if k.IsZero() {
		return ""
	}
	raw := make([]byte, 0, secretSize+crc32.Size)
	raw = append(raw, k.secret()...)
	raw = binary.BigEndian.AppendUint32(raw, crc32.ChecksumIEEE(raw))
	return linePrefix + crockford.EncodeToString(raw)
}

// ID names the key without telling anything about it: 8 hex digits. The zero
// Key has none.
func (k Key) ID() string { return k.id }

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k.secret == nil }

// Equal reports whether both are the same key.
func (k Key) Equal(other Key) bool {
	if k.IsZero() || other.IsZero() {
		return k.IsZero() == other.IsZero()
	}
	return subtle.ConstantTimeCompare(k.secret(), other.secret()) == 1
}

// derive makes the key for one purpose.
func (k Key) derive(purpose string, size int) []byte {
	return derive(k.secret(), nil, purpose, size)
}

func derive(secret, salt []byte, purpose string, size int) []byte {
	key, err := hkdf.Key(sha256.New, secret, salt, "understudy v1 "+purpose, size)
	if err != nil {
		panic(err) // only for sizes beyond 8160 bytes, and short secrets where FIPS 140 is enforced: ours are 32 bytes
	}
	return key
}

// String shows the id, never the secret.
func (k Key) String() string {
	if k.IsZero() {
		return "no key"
	}
	return "key " + k.ID()
}

// GoString shows the id, never the secret.
func (k Key) GoString() string { return "seal.Key(" + k.ID() + ")" }

// Format shows the id, never the secret, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue shows the id, never the secret.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.ID()) }

// MarshalText shows the id, never the secret, in JSON and its like. A Key
// travels by Line only.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.ID()), nil }

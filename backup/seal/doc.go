// Package seal holds the shared key and everything derived from it:
// signatures, authenticated encryption, and the wrapping of data keys. It
// imports nothing of this project.
//
// # The shared key
//
// A [Key] is 32 random bytes. Its printable form is one line without spaces:
//
//	understudy_key1_<58 characters>
//
// The characters are Crockford's base32 (no i, l, o, u; case does not matter,
// and o, i and l are read as 0, 1 and 1) of the 32 bytes and of their CRC-32,
// which is certain to notice any one mistyped character. The id of a key is
// eight hex digits that tell nothing about it. A Key never shows its secret
// through fmt, log/slog or encoding/json; only [Key.Line] does.
//
// # The ring
//
// A [Ring] is the keys that an instance knows, each in a [State]. A key file
// holds one key a line, newest first, with its state after it; a lone key
// needs no state. Lines that begin with # are comments.
//
//	understudy_key1_… active
//	understudy_key1_… retiring
//
// Rotation has two steps, because an instance must know a key before the
// others use it: every instance first has the new key as added, then the new
// one becomes active and the old one retiring, which goes on signing beside it
// until it is retired. [Ring.Resign] and [Ring.Rewrap] bring what is written
// once under the new key. What was signed or wrapped by the old key alone (old
// backups) cannot be read any more after that.
//
// # Derived keys
//
// HKDF-SHA256 without salt derives from the secret a key for each purpose;
// the info strings are "understudy v1 key id", "understudy v1 signature",
// "understudy v1 notification <cluster>", "understudy v1 configuration" and
// "understudy v1 wrapping".
//
// # Signed objects
//
// A signed object is a JWS in general JSON serialization, with one signature
// (HS256) by each key that is active or retiring, newest first:
//
//	{"payload":"<base64url>","signatures":[{"protected":"<base64url>","signature":"<base64url>"}]}
//
// The protected header binds the content to its place, so that a valid object
// cannot stand in for another one. There is no unprotected header.
//
//	{"alg":"HS256","cluster":"c-7f3a","kid":"72e16c15","object":"head.json","typ":"understudy-head"}
//
// [Ring.Verify] fails closed: every signature must be HS256 with exactly these
// header fields, all those by a known key must be right, and at least one must
// be by a known key. testdata holds one object that pins the format.
//
// # Sealed values
//
// [Ring.Wrap] and [Ring.SealConfig] give one printable line:
//
//	v1.<key id>.<base64url of nonce and AES-256-GCM ciphertext>
//
// with the purpose and the cluster as associated data.
package seal

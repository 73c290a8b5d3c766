package seal

import "errors"

// Error kinds. Test with errors.Is; the errors that wrap them say which
// object, which key and what to do.
var (
	// ErrKey: a text is not a key, or not a whole one.
	ErrKey = errors.New("not a usable key")
	// ErrUnknownKey: an object was signed or sealed with a key that the ring
	// does not have.
	ErrUnknownKey = errors.New("unknown key")
	// ErrSignature: an object is unsigned, malformed, or was changed.
	ErrSignature = errors.New("signature does not hold")
	// ErrScope: an object is properly signed, but is another type of object,
	// or belongs to another cluster or another place in the bucket.
	ErrScope = errors.New("signed for another place")
	// ErrSealed: a sealed value was changed, or belongs to another cluster or
	// purpose.
	ErrSealed = errors.New("cannot be decrypted")
)

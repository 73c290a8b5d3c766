package account

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"

	"github.com/understudy-ha/understudy/ha"
)

// Limits of a password. Length is what makes one strong; an upper bound keeps
// the work of a request bounded.
const (
	MinPassword = 10   // characters
	MaxPassword = 1024 // bytes
)

// hashing is argon2id as OWASP recommends it: 19 MiB, two passes.
var hashing = argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// Bounds of the parameters of a hash that is to be checked.
const (
	maxMemory     = 256 << 10 // KiB
	maxIterations = 16
)

// How many hashes are made at once, and may wait to be made: each takes 19 MiB
// and some 30 ms of a core.
const (
	hashesAtOnce  = 2
	hashesWaiting = 32
)

// ErrBusy means that too many passwords are being checked.
var ErrBusy = errors.New("too many sign-ins at once: try again in a moment")

// Passwords hashes and checks passwords, with bounded memory. It is safe for
// concurrent use.
type Passwords struct {
	queue chan struct{} // those who hash or wait to
	slots chan struct{} // those who hash
}

// NewPasswords returns Passwords that nobody waits for yet.
func NewPasswords() *Passwords {
	return &Passwords{queue: make(chan struct{}, hashesAtOnce+hashesWaiting), slots: make(chan struct{}, hashesAtOnce)}
}

// Hash returns a password's argon2id hash in the PHC string format. A password
// that is too short or too long is ha.ErrInvalid.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	switch {
	case utf8.RuneCountInString(password) < MinPassword:
		return "", ha.Invalidf("the password must have at least %d characters", MinPassword)
	case len(password) > MaxPassword:
		return "", ha.Invalidf("the password must have at most %d bytes", MaxPassword)
	}
	leave, err := p.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	hash, err := argon2id.CreateHash(password, &hashing)
	if err != nil {
		return "", fmt.Errorf("hash the password: %w", err)
	}
	return hash, nil
}

// nobodys is a hash that no password is checked against for its result.
const nobodys = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

var errHash = errors.New("read password hash: it is no argon2id hash that this version knows: set the password anew")

// Check reports whether a password has this hash. Without a hash it does the
// same work and reports false, so that the time tells nothing about who exists.
func (p *Passwords) Check(ctx context.Context, hash, password string) (bool, error) {
	against := hash
	if hash == "" {
		against = nobodys
	}
	if !affordable(against) {
		return false, errHash
	}
	if len(password) > MaxPassword {
		password = ""
	}
	leave, err := p.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	same, err := argon2id.ComparePasswordAndHash(password, against)
	if err != nil {
		return false, errHash
	}
	return same && hash != "", nil
}

// affordable reports whether a hash can be read, and checked within the bounds.
func affordable(hash string) bool {
	with, _, key, err := argon2id.DecodeHash(hash)
	return err == nil && len(key) == int(hashing.KeyLength) && with.Parallelism > 0 &&
		with.Memory > 0 && with.Memory <= maxMemory && with.Iterations > 0 && with.Iterations <= maxIterations
}

// enter waits for a turn to hash.
func (p *Passwords) enter(ctx context.Context) (leave func(), err error) {
	select {
	case p.queue <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots; <-p.queue }, nil
	case <-ctx.Done():
		<-p.queue
		return nil, ctx.Err()
	}
}

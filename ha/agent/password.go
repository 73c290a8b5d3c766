package agent

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Limits of a password. Length is what makes one strong; an upper bound keeps
// the work of a request bounded.
const (
	MinPassword = 10   // characters
	MaxPassword = 1024 // bytes
)

// Parameters of argon2id, as OWASP recommends them: 19 MiB, two passes.
const (
	argonMemory  = 19 << 10 // KiB
	argonTime    = 2
	argonThreads = 1
	saltSize     = 16
	hashSize     = 32
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
	random io.Reader
	queue  chan struct{} // those who hash or wait to
	slots  chan struct{} // those who hash
}

// NewPasswords takes salts from random.
func NewPasswords(random io.Reader) *Passwords {
	return &Passwords{random: random, queue: make(chan struct{}, hashesAtOnce+hashesWaiting), slots: make(chan struct{}, hashesAtOnce)}
}

// Hash gives a password's argon2id hash in the PHC string format. A password
// that is too short or too long is ErrInvalid.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	switch {
	case utf8.RuneCountInString(password) < MinPassword:
		return "", invalid("the password must have at least %d characters", MinPassword)
	case len(password) > MaxPassword:
		return "", invalid("the password must have at most %d bytes", MaxPassword)
	}
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(p.random, salt); err != nil {
		return "", fmt.Errorf("make salt: %w", err)
	}
	h := phc{memory: argonMemory, time: argonTime, threads: argonThreads, salt: salt}
	leave, err := p.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	h.hash = h.of(password)
	return h.String(), nil
}

// Check reports whether a password has this hash. Without a hash it does the
// same work and reports false, so that the time tells nothing about who exists.
func (p *Passwords) Check(ctx context.Context, hash, password string) (bool, error) {
	h := phc{memory: argonMemory, time: argonTime, threads: argonThreads, salt: make([]byte, saltSize), hash: make([]byte, hashSize)}
	if hash != "" {
		var err error
		if h, err = parsePHC(hash); err != nil {
			return false, err
		}
	}
	if len(password) > MaxPassword {
		password = ""
	}
	leave, err := p.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	return subtle.ConstantTimeCompare(h.of(password), h.hash) == 1 && hash != "", nil
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

// phc is an argon2id hash with what it was made with.
type phc struct {
	memory, time uint32
	threads      uint8
	salt, hash   []byte
}

func (h phc) of(password string) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, hashSize)
}

var phcText = base64.RawStdEncoding

// String is "$argon2id$v=19$m=19456,t=2,p=1$salt$hash".
func (h phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads,
		phcText.EncodeToString(h.salt), phcText.EncodeToString(h.hash))
}

// Bounds of the parameters of a hash that is to be checked.
const (
	maxArgonMemory = 256 << 10
	maxArgonTime   = 16
)

var errPHC = errors.New("read password hash: it is no argon2id hash that this version knows: set the password anew")

func parsePHC(text string) (phc, error) {
	var h phc
	var version int
	part := strings.Split(text, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" {
		return h, errPHC
	}
	if _, err := fmt.Sscanf(part[2], "v=%d", &version); err != nil || version != argon2.Version {
		return h, errPHC
	}
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil ||
		h.memory == 0 || h.memory > maxArgonMemory || h.time == 0 || h.time > maxArgonTime || h.threads == 0 {
		return h, errPHC
	}
	var err error
	if h.salt, err = phcText.DecodeString(part[4]); err != nil {
		return h, errPHC
	}
	if h.hash, err = phcText.DecodeString(part[5]); err != nil || len(h.hash) != hashSize {
		return h, errPHC
	}
	return h, nil
}

package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// Config reads the shared configuration that a head names.
func (s *Store) Config(ctx context.Context, h *ha.Head) (*ha.Config, error) {
	return s.ConfigWith(ctx, h.Config)
}

// ConfigWith reads the shared configuration with a digest.
func (s *Store) ConfigWith(ctx context.Context, digest string) (*ha.Config, error) {
	object, _, err := s.Read(ctx, ha.KindConfig, ha.ConfigKey(digest), "")
	if err != nil {
		return nil, err
	}
	return object.(*ha.Config), nil
}

// retention is the retention of the configuration that a head names; 0: it cannot be
// read.
func (s *Store) retention(ctx context.Context, h *ha.Head) time.Duration {
	c, err := s.Config(ctx, h)
	if err != nil {
		return 0
	}
	return time.Duration(c.Retention)
}

// PutConfig writes a configuration and returns its digest. Its name being its
// content's digest, one that is there already is the same.
func (s *Store) PutConfig(ctx context.Context, config *ha.Config) (string, error) {
	digest, err := DigestOf(config)
	if err != nil {
		return "", err
	}
	key := ha.ConfigKey(digest)
	for try := 1; ; try++ {
		_, err := s.Write(ctx, ha.KindConfig, key, config, blobstore.IfAbsent())
		switch {
		case err == nil:
			return digest, nil
		case errors.Is(err, blobstore.ErrPrecondition):
			// When it was written is when it came into force last: what may
			// expire goes by that (see Store.periods).
			_, attrs, err := s.Read(ctx, ha.KindConfig, key, "")
			if err == nil {
				_, err = s.Write(ctx, ha.KindConfig, key, config, blobstore.IfMatch(attrs.Token))
			}
			if errors.Is(err, blobstore.ErrUnknownOutcome) && try < 3 {
				continue
			}
			if errors.Is(err, blobstore.ErrPrecondition) {
				err = nil // somebody else has just written it again
			}
			return digest, err
		case !errors.Is(err, blobstore.ErrUnknownOutcome) || try == 3:
			return "", err
		}
	}
}

// PutConfigBack writes the configuration in force, which is known here, where the
// bucket does not have it, and reports whether it did, and which version is right
// now. The version that was seen is not read again. What a key has signed that is not
// known here stays.
func (s *Store) PutConfigBack(ctx context.Context, digest string, config *ha.Config, seen blobstore.Token) (blobstore.Token, bool, error) {
	key := ha.ConfigKey(digest)
	_, attrs, err := s.Read(ctx, ha.KindConfig, key, seen)
	cond := blobstore.IfAbsent()
	switch {
	case err == nil:
		return attrs.Token, false, nil
	case errors.Is(err, blobstore.ErrNotModified):
		return seen, false, nil
	case errors.Is(err, seal.ErrUnknownKey):
		return "", false, err
	case errors.Is(err, ErrUnverified):
		cond = blobstore.IfMatch(attrs.Token)
	case !errors.Is(err, blobstore.ErrNotFound):
		return "", false, err
	}
	if now, encodeErr := DigestOf(config); encodeErr != nil || now != digest {
		return "", false, fmt.Errorf("%w (a later version wrote it: an instance of that version has to write it again)", err)
	}
	token, err := s.Write(ctx, ha.KindConfig, key, config, cond)
	if errors.Is(err, blobstore.ErrPrecondition) {
		return "", false, nil // somebody else has just written it
	}
	return token, err == nil, err
}

// DigestOf is the digest that names a configuration.
func DigestOf(config *ha.Config) (string, error) {
	payload, err := json.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("encode configuration: %w", err)
	}
	return digestOf(payload), nil
}

// digestOf is the SHA-256 of data, in hex.
func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

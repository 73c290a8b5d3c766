package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/understudy-ha/understudy/blobstore"
)

// CheckStore proves that a store honours the preconditions that everything
// depends on: create-if-absent and compare-and-swap. It uses one scratch key
// under "probe/", which it deletes. A store that ignores one is ErrBucket, and
// the error names the precondition.
func CheckStore(ctx context.Context, store blobstore.Store, random io.Reader) (err error) {
	var nonce [12]byte
	if _, err := io.ReadFull(random, nonce[:]); err != nil {
		return fmt.Errorf("make a scratch key: %w", err)
	}
	p := prober{store: store, key: "probe/" + hex.EncodeToString(nonce[:])}
	defer func() {
		if deleted := store.Delete(ctx, p.key); deleted != nil && err == nil {
			err = fmt.Errorf("check the store: %w", deleted)
		}
	}()
	if err := p.run(ctx); err != nil {
		return fmt.Errorf("check the store: %w", err)
	}
	return nil
}

type prober struct {
	store blobstore.Store
	key   string
	n     int // writes, so that each has other content
}

func (p *prober) put(ctx context.Context, cond blobstore.Condition) (blobstore.Token, error) {
	p.n++
	attrs, err := p.store.Put(ctx, p.key, fmt.Appendf(nil, "%s %d", p.key, p.n), cond)
	return attrs.Token, err
}

// refused expects a write to be refused.
func (p *prober) refused(ctx context.Context, precondition string, cond blobstore.Condition) error {
	switch _, err := p.put(ctx, cond); {
	case err == nil:
		return fmt.Errorf("%w: the store ignores the precondition %s, so that two instances could both become the active: use another store", ErrBucket, precondition)
	case errors.Is(err, blobstore.ErrPrecondition):
		return nil
	default:
		return err
	}
}

func (p *prober) run(ctx context.Context) error {
	const absent, match = "If-None-Match: * (create-if-absent)", "If-Match (compare-and-swap)"
	if err := p.refused(ctx, match+" on a missing object", blobstore.IfMatch("understudy-probe")); err != nil {
		return err
	}
	first, err := p.put(ctx, blobstore.IfAbsent())
	if err != nil {
		return err
	}
	if err := p.refused(ctx, absent, blobstore.IfAbsent()); err != nil {
		return err
	}
	second, err := p.put(ctx, blobstore.IfMatch(first))
	if err != nil {
		return err
	}
	if first == second {
		return fmt.Errorf("%w: the store gives two versions of an object the same token", ErrBucket)
	}
	return p.refused(ctx, match, blobstore.IfMatch(first))
}

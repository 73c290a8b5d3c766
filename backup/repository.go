package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
)

// Repository is one cluster's backups in one bucket. It is safe for concurrent
// use.
type Repository struct {
	Store   blobstore.Store
	Ring    *seal.Ring
	Cluster string
	// Recovered, when set, is told of each object that is damaged in the bucket
	// or missing from it, and of which an earlier version is read instead.
	Recovered func(ctx context.Context, key string, v blobstore.Version)
}

// Load reads and verifies the manifest that ref pins. A missing manifest is an
// error that wraps blobstore.ErrNotFound. Where the bucket keeps versions, one
// that was overwritten or deleted is read from the version that is right.
func (r *Repository) Load(ctx context.Context, ref Ref) (*Manifest, error) {
	signed, err := r.ReadSigned(ctx, ref)
	if err != nil {
		return nil, err
	}
	return r.Decode(ref, signed)
}

// LoadNamed reads and verifies the manifest of a Ref whose digest is not known
// (ParseID), and completes the Ref. That the backup was published is not known
// then: its signature says that an instance of this cluster wrote it under this
// name, and no more. A missing manifest is an error that wraps
// blobstore.ErrNotFound.
func (r *Repository) LoadNamed(ctx context.Context, ref Ref) (Ref, *Manifest, error) {
	signed, err := r.ReadSigned(ctx, ref)
	if err != nil {
		return ref, nil, err
	}
	full := ref
	full.Digest = digestOf(signed)
	m, err := r.Decode(full, signed)
	if !Damaged(err) {
		return full, m, err
	}
	right, missing := r.earlierManifest(ctx, ref)
	if missing != nil {
		return full, nil, err // the damage is what is worth reporting
	}
	full.Digest = digestOf(right)
	m, err = r.Decode(full, right)
	return full, m, err
}

// LoadDeleted is LoadNamed of a manifest that was deleted, in a bucket that keeps
// versions: by somebody, or because it had expired.
func (r *Repository) LoadDeleted(ctx context.Context, ref Ref) (Ref, *Manifest, error) {
	signed, err := r.earlierManifest(ctx, ref)
	if err != nil {
		return ref, nil, err
	}
	ref.Digest = digestOf(signed)
	m, err := r.Decode(ref, signed)
	return ref, m, err
}

// Damaged reports whether an error of Load or Decode means that the manifest is
// there and cannot be used, now or later: it was changed, cut short, is signed
// by a key that is not known, or of another format.
func Damaged(err error) bool {
	for _, kind := range []error{ErrTampered, ErrFormat, seal.ErrSignature, seal.ErrScope, seal.ErrUnknownKey} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// ReadSigned reads the bytes of a manifest, as a cache keeps them. Decode
// verifies them. Bytes that are not those that ref pins are looked for among
// earlier versions.
func (r *Repository) ReadSigned(ctx context.Context, ref Ref) ([]byte, error) {
	var signed []byte
	err := retryBody(ctx, func() error {
		body, _, err := r.Store.Get(ctx, ref.Key, blobstore.GetOptions{})
		if err != nil {
			return backoff.Permanent(err)
		}
		defer body.Close()
		signed, err = io.ReadAll(io.LimitReader(body, MaxManifestSize+1))
		return err
	})
	wrong := err == nil && ref.Digest != "" && digestOf(signed) != ref.Digest
	if wrong || ref.Digest != "" && errors.Is(err, blobstore.ErrNotFound) {
		if right, missing := r.earlierManifest(ctx, ref); missing == nil {
			return right, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", ref.Key, err)
	}
	return signed, nil
}

// retryBody tries again, a few times, what failed because a body broke off
// while it was read; the store retries everything else.
func retryBody(ctx context.Context, try func() error) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, try() },
		backoff.WithMaxTries(4), backoff.WithBackOff(&backoff.ExponentialBackOff{
			InitialInterval: 100 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: 2 * time.Second,
		}))
	return err
}

// Open prepares a backup for reading: its data keys, its index, its streams.
// packs is where its packs are read.
func (r *Repository) Open(ctx context.Context, m *Manifest, packs pack.Packs) (*pack.Reader, *pack.Index, error) {
	keys, err := r.Ring.Unwrap(m.DataKey, r.Cluster)
	if err != nil {
		return nil, nil, fmt.Errorf("open backup %s: %w", m.ID, err)
	}
	index, err := pack.LoadIndex(ctx, r.Cluster, keys, packs, m.Index)
	if err != nil {
		return nil, nil, fmt.Errorf("open backup %s: %w", m.ID, err)
	}
	return pack.NewReader(r.Cluster, keys, index, packs), index, nil
}

// BucketPacks reads packs from the bucket. Where that keeps versions, a pack
// that was overwritten or deleted is read from the version that is right.
func (r *Repository) BucketPacks() pack.Packs {
	current := bucketPacks{r.Store}
	if e, ok := r.earlier(); ok {
		return pack.FirstOf(current, &earlierPacks{earlier: e})
	}
	return current
}

// Current is the repository without earlier versions: what is read is what is in
// the bucket now. An earlier version that is right expires, so that it proves no
// backup good, and none is built on it.
func (r *Repository) Current() *Repository {
	current := *r
	current.Store = struct{ blobstore.Store }{r.Store} // which hides what else it is
	return &current
}

type bucketPacks struct{ store blobstore.Store }

// ReadPack implements pack.Packs.
func (b bucketPacks) ReadPack(ctx context.Context, d pack.Digest, off int64, buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	return retryBody(ctx, func() error {
		body, attrs, err := b.store.Get(ctx, d.Key(), blobstore.GetOptions{Offset: off, Length: int64(len(buf))})
		switch {
		case errors.Is(err, blobstore.ErrNotFound):
			return backoff.Permanent(fmt.Errorf("%w: %w", fs.ErrNotExist, err))
		case off > 0 && errors.Is(err, blobstore.ErrInvalid): // the pack ends before off
			return backoff.Permanent(fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err))
		case err != nil:
			return backoff.Permanent(err)
		}
		defer body.Close()
		if attrs.Size < off+int64(len(buf)) {
			return backoff.Permanent(io.ErrUnexpectedEOF)
		}
		_, err = io.ReadFull(body, buf)
		return err
	})
}

package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/cenkalti/backoff/v5"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/blobstore"
)

// earlier reads what somebody overwrote or deleted, in a bucket that keeps
// versions. Any version whose content is the one that its digest names is
// right.
type earlier struct {
	r        *Repository
	versions blobstore.Versions
}

// errNoEarlier: no version in the bucket is right.
var errNoEarlier = fmt.Errorf("no earlier version of it is right: %w", fs.ErrNotExist)

func (r *Repository) earlier() (earlier, bool) {
	v, ok := blobstore.As[blobstore.Versions](r.Store)
	return earlier{r, v}, ok
}

// find reads the versions of a blob, the oldest first, because it is the one
// that this cluster wrote, until one is right.
func (e earlier) find(ctx context.Context, key string, most int64, right func([]byte) bool) (body []byte, v blobstore.Version, err error) {
	err = retryBody(ctx, func() error {
		body, v, err = blobstore.FindVersion(ctx, e.versions, key, most, right)
		if err != nil && !blobstore.Transient(err) {
			return backoff.Permanent(err)
		}
		return err
	})
	switch {
	case errors.Is(err, blobstore.ErrNotFound):
		return nil, v, fmt.Errorf("%s: %w", key, errNoEarlier)
	case err != nil:
		return nil, v, err
	}
	e.r.recovered(ctx, key, v)
	return body, v, nil
}

// open reads a version, and tries again what may do better.
func (e earlier) open(ctx context.Context, v blobstore.Version, opt blobstore.GetOptions, read func(io.Reader) error) error {
	return retryBody(ctx, func() error {
		content, _, err := e.versions.GetVersion(ctx, v.Key, v.ID, opt)
		switch {
		case err != nil && blobstore.Transient(err):
			return err
		case err != nil:
			return backoff.Permanent(err)
		}
		defer content.Close()
		return read(content)
	})
}

// recovered tells of an object of which an earlier version is read.
func (r *Repository) recovered(ctx context.Context, key string, v blobstore.Version) {
	if r.Recovered != nil {
		r.Recovered(ctx, key, v)
	}
}

// EarlierPack reads a pack that is damaged in the bucket, or missing from it,
// from an earlier version. It wraps fs.ErrNotExist where none is right, or the
// bucket keeps none.
func (r *Repository) EarlierPack(ctx context.Context, d pack.Digest) ([]byte, error) {
	e, ok := r.earlier()
	if !ok {
		return nil, errNoEarlier
	}
	body, _, err := e.find(ctx, d.Key(), pack.MaxPackSize, func(body []byte) bool { return pack.Digest(sha256.Sum256(body)) == d })
	return body, err
}

// earlierManifest reads the manifest that ref pins from an earlier version.
func (r *Repository) earlierManifest(ctx context.Context, ref Ref) ([]byte, error) {
	e, ok := r.earlier()
	if !ok {
		return nil, errNoEarlier
	}
	signed, _, err := e.find(ctx, ref.Key, MaxManifestSize, func(signed []byte) bool {
		named := ref
		if named.Digest == "" {
			named.Digest = digestOf(signed)
		}
		_, err := r.decode(named, signed)
		return err == nil
	})
	return signed, err
}

// earlierPacks reads packs from earlier versions: each is looked for once.
type earlierPacks struct {
	earlier
	mu    sync.Mutex
	found map[pack.Digest]blobstore.Version
}

// ReadPack implements pack.Packs.
func (p *earlierPacks) ReadPack(ctx context.Context, d pack.Digest, off int64, buf []byte) error {
	v, err := p.version(ctx, d)
	if err != nil {
		return err
	}
	if v.Size < off+int64(len(buf)) {
		return io.ErrUnexpectedEOF
	}
	return p.open(ctx, v, blobstore.GetOptions{Offset: off, Length: int64(len(buf))}, func(body io.Reader) error {
		_, err := io.ReadFull(body, buf)
		return err
	})
}

// version finds the version of a pack that is right.
func (p *earlierPacks) version(ctx context.Context, d pack.Digest) (blobstore.Version, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v, ok := p.found[d]; ok {
		return v, nil
	}
	_, v, err := p.find(ctx, d.Key(), pack.MaxPackSize, func(body []byte) bool { return pack.Digest(sha256.Sum256(body)) == d })
	if err != nil {
		return v, err
	}
	if p.found == nil {
		p.found = make(map[pack.Digest]blobstore.Version)
	}
	p.found[d] = v
	return v, nil
}

package miniostore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
	"github.com/understudy-ha/understudy/blobstore/internal/s3api"
)

// Store is a blobstore.Store in a bucket, below a prefix.
type Store struct {
	core   *minio.Core
	http   *http.Client // for requests that the SDK does not know
	bucket string
	prefix string // "" or with a slash at its end
	lock   s3api.LockSetting
}

var _ blobstore.Store = (*Store)(nil)

// Get implements blobstore.Store.
func (s *Store) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if err := edge.AdmitGet(ctx, key, opt); err != nil {
		return nil, blobstore.Attrs{}, err
	}
	var options minio.GetObjectOptions
	if opt.IfChanged != "" {
		if err := options.SetMatchETagExcept(string(opt.IfChanged)); err != nil {
			return nil, blobstore.Attrs{}, edge.Fail("get", key, blobstore.ErrInvalid, err)
		}
	}
	body, attrs, err := s.get(ctx, key, opt, options)
	if err != nil && opt.Offset == 0 && opt.Length > 0 && answered(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return edge.GetEmpty(ctx, s, key)
	}
	return body, attrs, err
}

// get reads what opt asks for of the version that options name.
func (s *Store) get(ctx context.Context, key string, opt blobstore.GetOptions, options minio.GetObjectOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if part := edge.Range(opt); part != "" {
		options.Set("Range", part)
	}
	body, info, header, err := s.core.GetObject(ctx, s.bucket, s.prefix+key, options)
	if err != nil {
		return nil, blobstore.Attrs{}, translator.Error("get", key, err)
	}
	attrs := attrsOf(key, info)
	if attrs.Size, err = edge.WholeSize(opt, header.Get("Content-Range"), info.Size); err != nil {
		body.Close()
		return nil, blobstore.Attrs{}, edge.Fail("get", key, blobstore.ErrUnavailable, err)
	}
	return body, attrs, nil
}

func attrsOf(key string, info minio.ObjectInfo) blobstore.Attrs {
	return blobstore.Attrs{
		Key:   key,
		Size:  info.Size,
		Token: blobstore.Token(info.ETag),
		Time:  info.LastModified,
	}
}

// Stat implements blobstore.Store. It may not be able to tell a missing
// bucket from a missing blob, and is then ErrNotFound.
func (s *Store) Stat(ctx context.Context, key string) (blobstore.Attrs, error) {
	if err := edge.Admit(ctx, "stat", key); err != nil {
		return blobstore.Attrs{}, err
	}
	info, err := s.core.StatObject(ctx, s.bucket, s.prefix+key, minio.StatObjectOptions{})
	if err != nil {
		return blobstore.Attrs{}, translator.Error("stat", key, err)
	}
	return attrsOf(key, info), nil
}

// Put implements blobstore.Store. The body is sent from where it lies.
func (s *Store) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if err := edge.Admit(ctx, "put", key); err != nil {
		return blobstore.Attrs{}, err
	}
	// The signature holds one hash of the whole body. The SDK would sign
	// piece by piece, which not all stores understand.
	options := minio.PutObjectOptions{DisableContentSha256: true}
	hash, known := cond.KnownHash()
	if !known {
		hash = sha256.Sum256(body)
	}
	if cond.Absent() {
		options.SetMatchETagExcept("*")
	}
	if token := cond.Match(); token != "" {
		options.SetMatchETag(string(token))
	}
	sum := addLock(&options, cond.Lock(), body)
	ctx, sent := edge.Watch(ctx)
	ctx, date := withDate(ctx)
	info, err := s.core.PutObject(ctx, s.bucket, s.prefix+key, bytes.NewReader(body), int64(len(body)),
		sum, hex.EncodeToString(hash[:]), options)
	if err != nil && cond.Conditional() {
		return blobstore.Attrs{}, translator.Conditional(key, cond, sent.Load(), err)
	}
	if err != nil {
		return blobstore.Attrs{}, translator.Error("put", key, err)
	}
	return blobstore.Attrs{
		Key:   key,
		Size:  int64(len(body)),
		Token: blobstore.Token(info.ETag),
		Time:  *date,
	}, nil
}

// Delete implements blobstore.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := edge.Admit(ctx, "delete", key); err != nil {
		return err
	}
	err := s.core.RemoveObject(ctx, s.bucket, s.prefix+key, minio.RemoveObjectOptions{})
	if err == nil {
		return nil
	}
	if err := translator.Error("delete", key, err); !errors.Is(err, blobstore.ErrNotFound) {
		return err
	}
	return nil
}

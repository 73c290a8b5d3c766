package miniostore

import (
	"context"
	"io"
	"iter"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

var _ blobstore.Versions = (*Store)(nil)

// KeepsVersions implements blobstore.Versions.
func (s *Store) KeepsVersions(ctx context.Context) (bool, error) {
	config, err := s.core.GetBucketVersioning(ctx, s.bucket)
	if err != nil {
		return false, translator.Error("read versioning of", s.bucket, err)
	}
	return config.Status != "", nil // one that was suspended keeps what it has
}

// Versions implements blobstore.Versions.
func (s *Store) Versions(ctx context.Context, prefix string) iter.Seq2[blobstore.Version, error] {
	return func(yield func(blobstore.Version, error) bool) {
		if err := edge.AdmitList(ctx, prefix); err != nil {
			yield(blobstore.Version{}, err)
			return
		}
		options := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true, WithVersions: true}
		for info := range s.core.ListObjectsIter(ctx, s.bucket, options) {
			if info.Err != nil {
				yield(blobstore.Version{}, translator.Error("list versions", prefix, info.Err))
				return
			}
			key := strings.TrimPrefix(info.Key, s.prefix)
			if blobstore.CheckKey(key) != nil {
				continue
			}
			if !yield(blobstore.Version{Attrs: attrsOf(key, info), ID: info.VersionID, Deleted: info.IsDeleteMarker}, nil) {
				return
			}
		}
		// The SDK's list ends without a word when the context does.
		if err := ctx.Err(); err != nil {
			yield(blobstore.Version{}, translator.Error("list versions", prefix, err))
		}
	}
}

// GetVersion implements blobstore.Versions.
func (s *Store) GetVersion(ctx context.Context, key, id string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if err := edge.AdmitGet(ctx, key, opt); err != nil {
		return nil, blobstore.Attrs{}, err
	}
	return s.get(ctx, key, opt, minio.GetObjectOptions{VersionID: id})
}

package miniostore

import (
	"context"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

var _ blobstore.Strangers = (*Store)(nil)

// Stranger implements blobstore.Strangers.
func (s *Store) Stranger(ctx context.Context) (string, error) {
	for info := range s.core.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix, Recursive: true, FetchOwner: new(bool)}) {
		if info.Err != nil {
			return "", translator.Error("list", "", info.Err)
		}
		if name := strings.TrimPrefix(info.Key, s.prefix); edge.IsStranger(name) {
			return name, nil
		}
	}
	// The SDK's list ends without a word when the context does.
	if err := ctx.Err(); err != nil {
		return "", translator.Error("list", "", err)
	}
	return "", nil
}

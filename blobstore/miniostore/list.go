package miniostore

import (
	"context"
	"iter"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// List implements blobstore.Store.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		if err := edge.AdmitList(ctx, prefix); err != nil {
			yield(blobstore.Attrs{}, err)
			return
		}
		options := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true, FetchOwner: new(bool)}
		if after != "" {
			options.StartAfter = s.prefix + after
		}
		for info := range s.core.ListObjectsIter(ctx, s.bucket, options) {
			if info.Err != nil {
				yield(blobstore.Attrs{}, translator.Error("list", prefix, info.Err))
				return
			}
			key := strings.TrimPrefix(info.Key, s.prefix)
			if blobstore.CheckKey(key) != nil {
				continue // none of ours, such as the empty objects that some tools keep for folders
			}
			if !yield(attrsOf(key, info), nil) {
				return
			}
		}
		// The SDK's list ends without a word when the context does.
		if err := ctx.Err(); err != nil {
			yield(blobstore.Attrs{}, translator.Error("list", prefix, err))
		}
	}
}

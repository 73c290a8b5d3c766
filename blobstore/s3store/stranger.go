package s3store

import (
	"context"
	"io"
	"strings"

	"gocloud.dev/blob"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

var _ blobstore.Strangers = (*Store)(nil)

// Stranger implements blobstore.Strangers.
func (s *Store) Stranger(ctx context.Context) (string, error) {
	pages := s.blobs.List(&blob.ListOptions{Prefix: s.prefix})
	for {
		object, err := pages.Next(ctx)
		switch {
		case err == io.EOF: // and not just any error that wraps it, such as a lost connection's
			return "", nil
		case err != nil:
			return "", translator.Error("list", "", err)
		}
		if name := strings.TrimPrefix(object.Key, s.prefix); edge.IsStranger(name) {
			return name, nil
		}
	}
}

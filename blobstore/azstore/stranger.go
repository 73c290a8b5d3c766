package azstore

import (
	"context"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

var _ blobstore.Strangers = (*Store)(nil)

// Stranger implements blobstore.Strangers.
func (s *Store) Stranger(ctx context.Context) (string, error) {
	for attrs, err := range s.versions(ctx, "", "") {
		if err != nil {
			return "", translator.Error("list", "", err)
		}
		if edge.IsStranger(attrs.Key) {
			return attrs.Key, nil
		}
	}
	return "", nil
}

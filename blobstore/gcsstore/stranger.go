package gcsstore

import (
	"context"
	"net/url"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

var _ blobstore.Strangers = (*Store)(nil)

// Stranger implements blobstore.Strangers.
func (s *Store) Stranger(ctx context.Context) (string, error) {
	for found, err := range s.api.list(ctx, url.Values{"prefix": {s.prefix}}) {
		if err != nil {
			return "", translator.Error("list", "", err)
		}
		if name := strings.TrimPrefix(found.Name, s.prefix); edge.IsStranger(name) {
			return name, nil
		}
	}
	return "", nil
}

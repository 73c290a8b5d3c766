package s3store

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

var _ blobstore.Strangers = (*Store)(nil)

// Stranger implements blobstore.Strangers.
func (s *Store) Stranger(ctx context.Context) (string, error) {
	for object, err := range s.objects(ctx, "", "") {
		if err != nil {
			return "", translator.Error("list", "", err)
		}
		if name := strings.TrimPrefix(aws.ToString(object.Key), s.prefix); edge.IsStranger(name) {
			return name, nil
		}
	}
	return "", nil
}

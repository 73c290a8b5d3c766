package s3store

import (
	"context"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

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
		for object, err := range s.objects(ctx, prefix, after) {
			if err != nil {
				yield(blobstore.Attrs{}, translator.Error("list", prefix, err))
				return
			}
			attrs, ok := s.listed(object)
			if ok && !yield(attrs, nil) {
				return
			}
		}
	}
}

// objects yields what is in the bucket below the store's prefix and another one,
// from after the key after on.
func (s *Store) objects(ctx context.Context, prefix, after string) iter.Seq2[types.Object, error] {
	in := &s3.ListObjectsV2Input{Bucket: aws.String(s.bucket), Prefix: aws.String(s.prefix + prefix)}
	if after != "" {
		in.StartAfter = aws.String(s.prefix + after)
	}
	return func(yield func(types.Object, error) bool) {
		for pages := s3.NewListObjectsV2Paginator(s.client, in); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(types.Object{}, err)
				return
			}
			for _, object := range page.Contents {
				if !yield(object, nil) {
					return
				}
			}
		}
	}
}

// listed describes an object of a list, unless it is none of ours, such as
// the empty objects that some tools keep for folders.
func (s *Store) listed(object types.Object) (blobstore.Attrs, bool) {
	key := strings.TrimPrefix(aws.ToString(object.Key), s.prefix)
	if blobstore.CheckKey(key) != nil {
		return blobstore.Attrs{}, false
	}
	return blobstore.Attrs{
		Key:   key,
		Size:  aws.ToInt64(object.Size),
		Token: blobstore.Token(aws.ToString(object.ETag)),
		Time:  aws.ToTime(object.LastModified),
	}, true
}

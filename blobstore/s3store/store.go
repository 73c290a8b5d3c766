package s3store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
	"github.com/understudy-ha/understudy/blobstore/internal/s3api"
)

// Store is a blobstore.Store in an S3 bucket, below a prefix.
type Store struct {
	client *s3.Client
	blobs  *blob.Bucket // the same bucket through gocloud
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
	length := opt.Length
	if length == 0 {
		length = -1 // gocloud's way to say: to the end
	}
	reader, err := s.blobs.NewRangeReader(ctx, s.prefix+key, opt.Offset, length, &blob.ReaderOptions{
		BeforeRead: func(as func(any) bool) error {
			var in *s3.GetObjectInput
			if opt.IfChanged != "" && as(&in) {
				in.IfNoneMatch = aws.String(string(opt.IfChanged))
			}
			return nil
		},
	})
	if err != nil && opt.Offset == 0 && opt.Length > 0 && errorStatus(err) == http.StatusRequestedRangeNotSatisfiable {
		return edge.GetEmpty(ctx, s, key)
	}
	if err != nil {
		return nil, blobstore.Attrs{}, translator.Error("get", key, err)
	}
	var out s3.GetObjectOutput
	reader.As(&out)
	return reader, blobstore.Attrs{
		Key:   key,
		Size:  reader.Size(),
		Token: blobstore.Token(aws.ToString(out.ETag)),
		Time:  reader.ModTime(),
	}, nil
}

// Stat implements blobstore.Store. It cannot tell a missing bucket from a
// missing blob: either is ErrNotFound.
func (s *Store) Stat(ctx context.Context, key string) (blobstore.Attrs, error) {
	if err := edge.Admit(ctx, "stat", key); err != nil {
		return blobstore.Attrs{}, err
	}
	attrs, err := s.blobs.Attributes(ctx, s.prefix+key)
	if err != nil {
		return blobstore.Attrs{}, translator.Error("stat", key, err)
	}
	return blobstore.Attrs{
		Key:   key,
		Size:  attrs.Size,
		Token: blobstore.Token(attrs.ETag),
		Time:  attrs.ModTime,
	}, nil
}

// Put implements blobstore.Store. The body is sent from where it lies.
func (s *Store) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if err := edge.Admit(ctx, "put", key); err != nil {
		return blobstore.Attrs{}, err
	}
	in := &s3.PutObjectInput{
		Bucket:        aws.String(s.bucket),
		Key:           aws.String(s.prefix + key),
		Body:          bytes.NewReader(body),
		ContentLength: aws.Int64(int64(len(body))),
	}
	if cond.Absent() {
		in.IfNoneMatch = aws.String("*")
	}
	if token := cond.Match(); token != "" {
		in.IfMatch = aws.String(string(token))
	}
	addLock(in, cond.Lock())
	ctx, sent := edge.Watch(ctx)
	out, err := s.client.PutObject(ctx, in, signHash(cond))
	if err != nil && cond.Conditional() {
		return blobstore.Attrs{}, translator.Conditional(key, cond, sent.Load(), err)
	}
	if err != nil {
		return blobstore.Attrs{}, translator.Error("put", key, err)
	}
	// Zero if the store sent no date; every one that we know sends it.
	now, _ := awsmiddleware.GetServerTime(out.ResultMetadata)
	return blobstore.Attrs{
		Key:   key,
		Size:  int64(len(body)),
		Token: blobstore.Token(aws.ToString(out.ETag)),
		Time:  now,
	}, nil
}

// List implements blobstore.Store.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		if err := edge.AdmitList(ctx, prefix); err != nil {
			yield(blobstore.Attrs{}, err)
			return
		}
		pages := s.blobs.List(&blob.ListOptions{
			Prefix: s.prefix + prefix,
			BeforeList: func(as func(any) bool) error {
				var in *s3.ListObjectsV2Input
				if after != "" && as(&in) && in.ContinuationToken == nil {
					in.StartAfter = aws.String(s.prefix + after)
				}
				return nil
			},
		})
		for {
			object, err := pages.Next(ctx)
			if err == io.EOF { // and not just any error that wraps it, such as a lost connection's
				return
			}
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

// listed describes an object of a list, unless it is none of ours, such as
// the empty objects that some tools keep for folders.
func (s *Store) listed(object *blob.ListObject) (blobstore.Attrs, bool) {
	key := strings.TrimPrefix(object.Key, s.prefix)
	if blobstore.CheckKey(key) != nil {
		return blobstore.Attrs{}, false
	}
	var out types.Object
	object.As(&out)
	return blobstore.Attrs{
		Key:   key,
		Size:  object.Size,
		Token: blobstore.Token(aws.ToString(out.ETag)),
		Time:  object.ModTime,
	}, true
}

// Delete implements blobstore.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := edge.Admit(ctx, "delete", key); err != nil {
		return err
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{
		Bucket: aws.String(s.bucket),
		Key:    aws.String(s.prefix + key),
	})
	if err == nil {
		return nil
	}
	if err := translator.Error("delete", key, err); !errors.Is(err, blobstore.ErrNotFound) {
		return err
	}
	return nil
}

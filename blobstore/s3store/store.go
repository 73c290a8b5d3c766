package s3store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
	"github.com/understudy-ha/understudy/blobstore/internal/s3api"
)

// Store is a blobstore.Store in an S3 bucket, below a prefix.
type Store struct {
	client *s3.Client
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
	in := s.get(key, opt)
	if opt.IfChanged != "" {
		in.IfNoneMatch = aws.String(string(opt.IfChanged))
	}
	body, attrs, err := s.read(ctx, in, key, opt)
	if err != nil && opt.Offset == 0 && opt.Length > 0 && errorStatus(err) == http.StatusRequestedRangeNotSatisfiable {
		return edge.GetEmpty(ctx, s, key)
	}
	if err != nil {
		return nil, blobstore.Attrs{}, translator.Error("get", key, err)
	}
	return body, attrs, nil
}

// get asks for what opt wants of a blob.
func (s *Store) get(key string, opt blobstore.GetOptions) *s3.GetObjectInput {
	in := &s3.GetObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(s.prefix + key)}
	if part := edge.Range(opt); part != "" {
		in.Range = aws.String(part)
	}
	return in
}

// read opens what in asks for, which is what opt wants.
func (s *Store) read(ctx context.Context, in *s3.GetObjectInput, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return nil, blobstore.Attrs{}, err
	}
	size, err := edge.WholeSize(opt, aws.ToString(out.ContentRange), aws.ToInt64(out.ContentLength))
	if err != nil {
		return nil, blobstore.Attrs{}, errors.Join(err, out.Body.Close())
	}
	return out.Body, blobstore.Attrs{
		Key:   key,
		Size:  size,
		Token: blobstore.Token(aws.ToString(out.ETag)),
		Time:  aws.ToTime(out.LastModified),
	}, nil
}

// Stat implements blobstore.Store. It cannot tell a missing bucket from a
// missing blob: either is ErrNotFound.
func (s *Store) Stat(ctx context.Context, key string) (blobstore.Attrs, error) {
	if err := edge.Admit(ctx, "stat", key); err != nil {
		return blobstore.Attrs{}, err
	}
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(s.bucket), Key: aws.String(s.prefix + key)})
	if err != nil {
		return blobstore.Attrs{}, translator.Error("stat", key, err)
	}
	return blobstore.Attrs{
		Key:   key,
		Size:  aws.ToInt64(out.ContentLength),
		Token: blobstore.Token(aws.ToString(out.ETag)),
		Time:  aws.ToTime(out.LastModified),
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

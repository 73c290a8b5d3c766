package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
	"github.com/understudy-ha/understudy/blobstore/internal/s3api"
)

var _ blobstore.Lifecycle = (*Store)(nil)

// Rules implements blobstore.Lifecycle. See package s3api for what the
// rules of others are seen as.
func (s *Store) Rules(ctx context.Context) ([]blobstore.Rule, error) {
	return s.rules().Rules(ctx)
}

// SetRules implements blobstore.Lifecycle. Own rules are known by their
// IDs, which begin with "understudy" and the store's prefix.
func (s *Store) SetRules(ctx context.Context, own []blobstore.Rule) error {
	return s.rules().SetRules(ctx, own)
}

func (s *Store) rules() s3api.Rules {
	return s3api.Rules{Bucket: &bucketRules{client: s.client, bucket: s.bucket}, Prefix: s.prefix}
}

// bucketRules is the bucket's lifecycle configuration as the XML document that
// goes over the wire.
type bucketRules struct {
	client *s3.Client
	bucket string
	// sizes is the bucket's setting that a write would otherwise reset.
	sizes types.TransitionDefaultMinimumObjectSize
}

// LoadRules implements s3api.Bucket.
func (b *bucketRules) LoadRules(ctx context.Context) ([]byte, error) {
	var document []byte
	out, err := b.client.GetBucketLifecycleConfiguration(ctx,
		&s3.GetBucketLifecycleConfigurationInput{Bucket: aws.String(b.bucket)}, keepAnswer(&document))
	switch {
	case errorCode(err) == s3api.NoRules:
		return nil, nil
	case err != nil:
		return nil, b.fail("read lifecycle", err)
	}
	b.sizes = out.TransitionDefaultMinimumObjectSize
	return document, nil
}

// SaveRules implements s3api.Bucket.
func (b *bucketRules) SaveRules(ctx context.Context, document []byte) error {
	if document == nil {
		_, err := b.client.DeleteBucketLifecycle(ctx, &s3.DeleteBucketLifecycleInput{Bucket: aws.String(b.bucket)})
		return b.fail("write lifecycle", err)
	}
	_, err := b.client.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
		Bucket:                             aws.String(b.bucket),
		TransitionDefaultMinimumObjectSize: b.sizes,
	}, sendBody(document))
	return b.fail("write lifecycle", err)
}

func (b *bucketRules) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	kind, why := s3api.RulesError(kindOf(err), errorCode(err), errorStatus(err), s3api.Explain(op, errorCode(err), brief(err)))
	return edge.Fail(op, b.bucket, kind, why)
}

// keepAnswer makes a call keep its answer's body as it came.
func keepAnswer(body *[]byte) func(*s3.Options) {
	keep := func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
		out middleware.DeserializeOutput, metadata middleware.Metadata, err error,
	) {
		out, metadata, err = next.HandleDeserialize(ctx, in)
		answer, ok := out.RawResponse.(*smithyhttp.Response)
		if err != nil || !ok {
			return out, metadata, err
		}
		data, err := io.ReadAll(io.LimitReader(answer.Body, maxRules))
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			return out, metadata, fmt.Errorf("read answer: %w", err)
		}
		*body, answer.Body = data, io.NopCloser(bytes.NewReader(data))
		return out, metadata, nil
	}
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("KeepAnswer", keep), middleware.After)
	})
}

// maxRules is the most that rules take, in bytes: a thousand of them, each with
// the longest key as its prefix.
const maxRules = 4 << 20

// sendBody makes a call send a body of the caller's own, signed as ever.
func sendBody(body []byte) func(*s3.Options) {
	send := func(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (
		out middleware.SerializeOutput, metadata middleware.Metadata, err error,
	) {
		request, ok := in.Request.(*smithyhttp.Request)
		if !ok {
			return out, metadata, fmt.Errorf("send a body by a %T", in.Request)
		}
		request.Header.Set("Content-Type", "application/xml")
		if in.Request, err = request.SetStream(bytes.NewReader(body)); err != nil {
			return out, metadata, err
		}
		return next.HandleSerialize(ctx, in)
	}
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Serialize.Add(middleware.SerializeMiddlewareFunc("SendBody", send), middleware.After)
	})
}

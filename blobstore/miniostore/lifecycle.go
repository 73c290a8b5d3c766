package miniostore

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
	"github.com/understudy-ha/understudy/blobstore/internal/s3api"
)

var _ blobstore.Lifecycle = (*Store)(nil)

const (
	// signedFor is how long a request may be on its way.
	signedFor = 5 * time.Minute
	// maxRules bounds the document with a bucket's rules, in bytes.
	maxRules = 4 << 20
)

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
	return s3api.Rules{Bucket: bucketRules{s}, Prefix: s.prefix}
}

// bucketRules is the bucket's lifecycle configuration as the XML document that
// goes over the wire.
type bucketRules struct{ s *Store }

// LoadRules implements s3api.Bucket.
func (b bucketRules) LoadRules(ctx context.Context) ([]byte, error) {
	document, err := b.do(ctx, http.MethodGet, nil)
	if answered(err).Code == s3api.NoRules {
		return nil, nil
	}
	return document, b.fail("read lifecycle", err)
}

// SaveRules implements s3api.Bucket.
func (b bucketRules) SaveRules(ctx context.Context, document []byte) error {
	method := http.MethodPut
	if document == nil {
		method = http.MethodDelete
	}
	_, err := b.do(ctx, method, document)
	return b.fail("write lifecycle", err)
}

func (b bucketRules) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	kind, why := s3api.RulesError(kindOf(err), answered(err).Code, answered(err).StatusCode, s3api.Explain(op, answered(err).Code, brief(err)))
	return edge.Fail(op, b.s.bucket, kind, why)
}

// do sends a request about the document, which the SDK signs and does not
// look into.
func (b bucketRules) do(ctx context.Context, method string, document []byte) ([]byte, error) {
	header := make(http.Header)
	if document != nil {
		sum := md5.Sum(document) // the protocol asks for it here
		header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	signed, err := b.s.core.PresignHeader(ctx, method, b.s.bucket, "", signedFor, url.Values{"lifecycle": {""}}, header)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, signed.String(), bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	req.Header = header
	resp, err := b.s.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRules))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, refusal(resp, body)
	}
	return body, nil
}

// refusal is the SDK's error for an answer.
func refusal(resp *http.Response, body []byte) error {
	var said minio.ErrorResponse
	if xml.Unmarshal(body, &said) != nil {
		said.Code, said.Message = http.StatusText(resp.StatusCode), resp.Status
	}
	said.StatusCode = resp.StatusCode
	return said
}

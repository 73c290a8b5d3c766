package azstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// Store is a blobstore.Store in a container, below a prefix.
type Store struct {
	container *container.Client
	prefix    string // "" or with a slash at its end
}

var _ blobstore.Store = (*Store)(nil)

// Get implements blobstore.Store.
func (s *Store) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if err := edge.AdmitGet(ctx, key, opt); err != nil {
		return nil, blobstore.Attrs{}, err
	}
	options := &blob.DownloadStreamOptions{}
	if opt.IfChanged != "" {
		options.AccessConditions = onlyIf(blob.ModifiedAccessConditions{IfNoneMatch: etagOf(opt.IfChanged)})
	}
	body, attrs, err := s.read(ctx, s.container.NewBlobClient(s.prefix+key), key, opt, options)
	if err != nil && opt.Offset == 0 && opt.Length > 0 && errorStatus(err) == http.StatusRequestedRangeNotSatisfiable {
		return edge.GetEmpty(ctx, s, key)
	}
	return body, attrs, err
}

// read reads what opt asks for of a blob, or of one of its versions.
func (s *Store) read(ctx context.Context, from *blob.Client, key string, opt blobstore.GetOptions, options *blob.DownloadStreamOptions) (io.ReadCloser, blobstore.Attrs, error) {
	options.Range = blob.HTTPRange{Offset: opt.Offset, Count: opt.Length}
	var answer *http.Response
	ctx = policy.WithCaptureResponse(ctx, &answer)
	out, err := from.DownloadStream(ctx, options)
	if err != nil {
		return nil, blobstore.Attrs{}, translator.Error("get", key, err)
	}
	attrs, err := attrsOfPart(key, opt, out, answer)
	if err != nil {
		out.Body.Close()
		return nil, blobstore.Attrs{}, err
	}
	return out.Body, attrs, nil
}

// attrsOfPart describes the blob of which an answer brings what opt asked for.
func attrsOfPart(key string, opt blobstore.GetOptions, out blob.DownloadStreamResponse, answer *http.Response) (blobstore.Attrs, error) {
	if answer.StatusCode == http.StatusNotModified { // no error to the SDK
		return blobstore.Attrs{}, edge.Fail("get", key, blobstore.ErrNotModified, nil)
	}
	size, err := edge.WholeSize(opt, value(out.ContentRange), value(out.ContentLength))
	if err != nil {
		return blobstore.Attrs{}, translator.Error("get", key, err)
	}
	if opt.Offset > 0 && opt.Offset >= size { // some stores answer with nothing
		return blobstore.Attrs{}, edge.Fail("get", key, blobstore.ErrInvalid, fmt.Errorf("offset %d in a blob of %d bytes", opt.Offset, size))
	}
	attrs, err := attrsOf(key, size, out.ETag, out.LastModified)
	if err != nil {
		return blobstore.Attrs{}, translator.Error("get", key, err)
	}
	return attrs, nil
}

// Stat implements blobstore.Store.
func (s *Store) Stat(ctx context.Context, key string) (blobstore.Attrs, error) {
	if err := edge.Admit(ctx, "stat", key); err != nil {
		return blobstore.Attrs{}, err
	}
	out, err := s.container.NewBlobClient(s.prefix+key).GetProperties(ctx, nil)
	if err != nil {
		return blobstore.Attrs{}, translator.Error("stat", key, err)
	}
	attrs, err := attrsOf(key, value(out.ContentLength), out.ETag, out.LastModified)
	if err != nil {
		return blobstore.Attrs{}, translator.Error("stat", key, err)
	}
	return attrs, nil
}

// Put implements blobstore.Store. The body is sent from where it lies.
func (s *Store) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if err := edge.Admit(ctx, "put", key); err != nil {
		return blobstore.Attrs{}, err
	}
	options := &blockblob.UploadOptions{}
	if cond.Absent() {
		every := azcore.ETagAny
		options.AccessConditions = onlyIf(blob.ModifiedAccessConditions{IfNoneMatch: &every})
	}
	if token := cond.Match(); token != "" {
		options.AccessConditions = onlyIf(blob.ModifiedAccessConditions{IfMatch: etagOf(token)})
	}
	ctx, sent := edge.Watch(ctx)
	attrs, err := s.upload(ctx, key, body, options)
	if err != nil && cond.Conditional() {
		return blobstore.Attrs{}, translator.Conditional(key, cond, sent.Load(), err)
	}
	if err != nil {
		return blobstore.Attrs{}, translator.Error("put", key, err)
	}
	return attrs, nil
}

func (s *Store) upload(ctx context.Context, key string, body []byte, options *blockblob.UploadOptions) (blobstore.Attrs, error) {
	out, err := s.container.NewBlockBlobClient(s.prefix+key).Upload(ctx, streaming.NopCloser(bytes.NewReader(body)), options)
	if err != nil {
		return blobstore.Attrs{}, err
	}
	return attrsOf(key, int64(len(body)), out.ETag, out.LastModified)
}

// Delete implements blobstore.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := edge.Admit(ctx, "delete", key); err != nil {
		return err
	}
	_, err := s.container.NewBlobClient(s.prefix+key).Delete(ctx, nil)
	if err == nil {
		return nil
	}
	if err := translator.Error("delete", key, err); !errors.Is(err, blobstore.ErrNotFound) {
		return err
	}
	return nil
}

func onlyIf(conditions blob.ModifiedAccessConditions) *blob.AccessConditions {
	return &blob.AccessConditions{ModifiedAccessConditions: &conditions}
}

// errNoETag says that an answer is not the store's, or not all of it.
var errNoETag = errors.New("the answer has no ETag")

// attrsOf describes a version of a blob, which has an ETag. That stands
// between quotes everywhere but in a list.
func attrsOf(key string, size int64, tag *azcore.ETag, modified *time.Time) (blobstore.Attrs, error) {
	if value(tag) == "" {
		return blobstore.Attrs{}, errNoETag
	}
	return blobstore.Attrs{
		Key:   key,
		Size:  size,
		Token: blobstore.Token(`"` + strings.Trim(string(*tag), `"`) + `"`),
		Time:  value(modified),
	}, nil
}

func etagOf(token blobstore.Token) *azcore.ETag {
	tag := azcore.ETag(token)
	return &tag
}

// value returns what p points to, or the zero value: the SDK gives nil for
// what an answer lacks.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

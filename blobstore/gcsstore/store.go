package gcsstore

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"google.golang.org/api/iterator"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// Store is a blobstore.Store in a Google Cloud Storage bucket, below a prefix.
type Store struct {
	bucket *storage.BucketHandle
	blobs  *blob.Bucket // the same bucket through gocloud
	prefix string       // "" or with a slash at its end
	rules  rules
}

var (
	_ blobstore.Store     = (*Store)(nil)
	_ blobstore.Lifecycle = (*Store)(nil)
)

func (s *Store) object(key string) *storage.ObjectHandle { return s.bucket.Object(s.prefix + key) }

// errNoGeneration is an answer of which no token can be made.
var errNoGeneration = errors.New("the store's answer names no generation")

// token makes a token of a generation.
func token(generation int64) blobstore.Token {
	return blobstore.Token(strconv.FormatInt(generation, 10))
}

// generation reads a token; false if it is none that this store has given.
func generation(t blobstore.Token) (int64, bool) {
	n, err := strconv.ParseInt(string(t), 10, 64)
	return n, err == nil && n > 0
}

// describe gives the attributes of an object their form.
func (s *Store) describe(object *storage.ObjectAttrs) blobstore.Attrs {
	return blobstore.Attrs{
		Key:   strings.TrimPrefix(object.Name, s.prefix),
		Size:  object.Size,
		Token: token(object.Generation),
		Time:  object.Created,
	}
}

// Get implements blobstore.Store. The body comes as it is stored, whatever
// encoding somebody has given it. Where a token has been seen it takes two
// requests to read a changed blob: Google's media have a condition or a time,
// not both.
func (s *Store) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if err := edge.AdmitGet(ctx, key, opt); err != nil {
		return nil, blobstore.Attrs{}, err
	}
	if seen, ok := generation(opt.IfChanged); ok {
		if err := s.changed(ctx, key, seen); err != nil {
			return nil, blobstore.Attrs{}, err
		}
	}
	body, attrs, err := s.read(ctx, s.object(key), key, opt)
	if err != nil && opt.Offset == 0 && opt.Length > 0 && answerOf(err).status == http.StatusRequestedRangeNotSatisfiable {
		return edge.GetEmpty(ctx, s, key)
	}
	return body, attrs, err
}

// read reads what opt asks for of an object, or of one of its versions.
func (s *Store) read(ctx context.Context, from *storage.ObjectHandle, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	length := opt.Length
	if length == 0 {
		length = -1 // gocloud's way to say: to the end
	}
	reader, err := s.blobs.NewRangeReader(forRead(ctx), s.prefix+key, opt.Offset, length, &blob.ReaderOptions{
		BeforeRead: func(as func(any) bool) error {
			var object **storage.ObjectHandle
			if as(&object) {
				*object = from.ReadCompressed(true)
			}
			return nil
		},
	})
	if err != nil {
		return nil, blobstore.Attrs{}, translator.Error("get", key, err)
	}
	var object *storage.Reader
	if !reader.As(&object) || object.Attrs.Generation <= 0 {
		return nil, blobstore.Attrs{}, errors.Join(translator.Error("get", key, errNoGeneration), reader.Close())
	}
	return reader, blobstore.Attrs{
		Key:   key,
		Size:  reader.Size(),
		Token: token(object.Attrs.Generation),
		Time:  reader.ModTime(),
	}, nil
}

// changed returns ErrNotModified while a blob's generation is still the one
// that was seen.
func (s *Store) changed(ctx context.Context, key string, seen int64) error {
	object, err := s.object(key).If(storage.Conditions{GenerationNotMatch: seen}).Attrs(ctx)
	if err != nil {
		return translator.Error("get", key, err)
	}
	if object.Generation == seen { // an emulator that does not know the condition
		return edge.Fail("get", key, blobstore.ErrNotModified, nil)
	}
	return nil
}

// Stat implements blobstore.Store.
func (s *Store) Stat(ctx context.Context, key string) (blobstore.Attrs, error) {
	if err := edge.Admit(ctx, "stat", key); err != nil {
		return blobstore.Attrs{}, err
	}
	object, err := s.object(key).Attrs(ctx)
	if err != nil {
		return blobstore.Attrs{}, translator.Error("stat", key, err)
	}
	return s.describe(object), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Put implements blobstore.Store. The body is sent from where it lies.
func (s *Store) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if err := edge.Admit(ctx, "put", key); err != nil {
		return blobstore.Attrs{}, err
	}
	object := s.object(key)
	if cond.Absent() {
		object = object.If(storage.Conditions{DoesNotExist: true})
	}
	if match := cond.Match(); match != "" {
		wanted, ok := generation(match)
		if !ok {
			return blobstore.Attrs{}, edge.Fail("put", key, blobstore.ErrPrecondition, errors.New("the token is none of this store's"))
		}
		object = object.If(storage.Conditions{GenerationMatch: wanted})
	}
	ctx, sent := edge.Watch(ctx)
	wrote, err := write(ctx, object, body)
	if err != nil && cond.Conditional() {
		return blobstore.Attrs{}, translator.Conditional(key, cond, sent.Load(), err)
	}
	if err != nil {
		return blobstore.Attrs{}, translator.Error("put", key, err)
	}
	return s.describe(wrote), nil
}

// write writes an object in one request.
func write(ctx context.Context, object *storage.ObjectHandle, body []byte) (*storage.ObjectAttrs, error) {
	w := object.NewWriter(ctx)
	w.ChunkSize = 0 // one request
	w.SendCRC32C, w.CRC32C = true, crc32.Checksum(body, castagnoli)
	w.ContentType = "application/octet-stream"
	// In a bucket that everybody may read Google would else serve a stale head
	// for an hour, and compress on the way what it thinks is worth it.
	w.CacheControl = "no-store, no-transform"
	_, err := w.Write(body)
	if closed := w.Close(); closed != nil { // it says why a write failed
		err = closed
	}
	if err == nil && w.Attrs().Generation <= 0 {
		err = errNoGeneration
	}
	if err != nil {
		return nil, err
	}
	return w.Attrs(), nil
}

// List implements blobstore.Store.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		if err := edge.AdmitList(ctx, prefix); err != nil {
			yield(blobstore.Attrs{}, err)
			return
		}
		query := &storage.Query{Prefix: s.prefix + prefix, Projection: storage.ProjectionNoACL}
		if after != "" {
			query.StartOffset = s.prefix + after // and the key after itself, which is left out below
		}
		if err := query.SetAttrSelection([]string{"Name", "Size", "Generation", "Created"}); err != nil {
			yield(blobstore.Attrs{}, edge.Fail("list", prefix, blobstore.ErrInvalid, err))
			return
		}
		objects := s.bucket.Objects(ctx, query)
		for {
			object, err := objects.Next()
			if errors.Is(err, iterator.Done) {
				return
			}
			if err != nil {
				yield(blobstore.Attrs{}, translator.Error("list", prefix, err))
				return
			}
			attrs := s.describe(object)
			// What is no key is none of ours, such as the empty objects that some
			// tools keep for folders.
			ours := blobstore.CheckKey(attrs.Key) == nil && attrs.Key != after
			if ours && !yield(attrs, nil) {
				return
			}
		}
	}
}

// Delete implements blobstore.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := edge.Admit(ctx, "delete", key); err != nil {
		return err
	}
	err := s.object(key).Delete(ctx)
	if err == nil {
		return nil
	}
	if err := translator.Error("delete", key, err); !errors.Is(err, blobstore.ErrNotFound) {
		return err
	}
	return nil
}

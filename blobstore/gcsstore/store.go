package gcsstore

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/internal/edge"
)

// Store is a blobstore.Store in a Google Cloud Storage bucket, below a prefix.
type Store struct {
	api    api
	prefix string // "" or with a slash at its end
}

var (
	_ blobstore.Store     = (*Store)(nil)
	_ blobstore.Lifecycle = (*Store)(nil)
)

// token makes a token of a generation.
func token(generation int64) blobstore.Token {
	return blobstore.Token(strconv.FormatInt(generation, 10))
}

// generation reads a token; false if it is none that this store has given.
func generation(t blobstore.Token) (int64, bool) {
	n, err := strconv.ParseInt(string(t), 10, 64)
	return n, err == nil && n > 0
}

// describe gives an object's attributes their form.
func (s *Store) describe(o object) blobstore.Attrs {
	return blobstore.Attrs{
		Key:   strings.TrimPrefix(o.Name, s.prefix),
		Size:  o.Size,
		Token: token(o.Generation),
		Time:  o.TimeCreated,
	}
}

// Get implements blobstore.Store. Where a token has been seen it takes two
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
	body, attrs, err := s.read(ctx, key, 0, opt)
	if err != nil && opt.Offset == 0 && opt.Length > 0 && answerOf(err).status == http.StatusRequestedRangeNotSatisfiable {
		return edge.GetEmpty(ctx, s, key)
	}
	return body, attrs, err
}

// read reads what opt asks for of a blob: of one of its generations, or with 0 of the
// current one.
func (s *Store) read(ctx context.Context, key string, generation int64, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	d, err := s.api.download(ctx, s.prefix+key, generation, opt)
	if err != nil {
		return nil, blobstore.Attrs{}, translator.Error("get", key, err)
	}
	return d, blobstore.Attrs{Key: key, Size: d.size, Token: token(d.generation), Time: d.modified}, nil
}

// changed returns ErrNotModified while a blob's generation is still the one
// that was seen.
func (s *Store) changed(ctx context.Context, key string, seen int64) error {
	o, err := s.api.stat(ctx, s.prefix+key, seen)
	if err != nil {
		return translator.Error("get", key, err)
	}
	if o.Generation == seen { // an emulator that does not know the condition
		return edge.Fail("get", key, blobstore.ErrNotModified, nil)
	}
	return nil
}

// Stat implements blobstore.Store.
func (s *Store) Stat(ctx context.Context, key string) (blobstore.Attrs, error) {
	if err := edge.Admit(ctx, "stat", key); err != nil {
		return blobstore.Attrs{}, err
	}
	o, err := s.api.stat(ctx, s.prefix+key, 0)
	if err != nil {
		return blobstore.Attrs{}, translator.Error("stat", key, err)
	}
	return s.describe(o), nil
}

// Put implements blobstore.Store. The body is sent from where it lies.
func (s *Store) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if err := edge.Admit(ctx, "put", key); err != nil {
		return blobstore.Attrs{}, err
	}
	replaced := int64(-1) // any
	if cond.Absent() {
		replaced = 0
	}
	if match := cond.Match(); match != "" {
		var ok bool
		if replaced, ok = generation(match); !ok {
			return blobstore.Attrs{}, edge.Fail("put", key, blobstore.ErrPrecondition, errors.New("the token is none of this store's"))
		}
	}
	ctx, sent := edge.Watch(ctx)
	wrote, err := s.api.insert(ctx, s.prefix+key, body, replaced)
	if err == nil && wrote.Generation <= 0 {
		err = errNoGeneration
	}
	if err != nil && cond.Conditional() {
		return blobstore.Attrs{}, translator.Conditional(key, cond, sent.Load(), err)
	}
	if err != nil {
		return blobstore.Attrs{}, translator.Error("put", key, err)
	}
	return s.describe(wrote), nil
}

// List implements blobstore.Store.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		if err := edge.AdmitList(ctx, prefix); err != nil {
			yield(blobstore.Attrs{}, err)
			return
		}
		query := url.Values{"prefix": {s.prefix + prefix}}
		if after != "" {
			query.Set("startOffset", s.prefix+after) // and the key after itself, which is left out below
		}
		for o, err := range s.api.list(ctx, query) {
			if err != nil {
				yield(blobstore.Attrs{}, translator.Error("list", prefix, err))
				return
			}
			attrs := s.describe(o)
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
	err := s.api.delete(ctx, s.prefix+key)
	if err == nil {
		return nil
	}
	if err := translator.Error("delete", key, err); !errors.Is(err, blobstore.ErrNotFound) {
		return err
	}
	return nil
}

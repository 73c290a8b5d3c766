package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/understudy-ha/understudy/blobstore"
)

// reads are the ways of reading that save traffic, and what a killed examination
// left behind.
var reads = []test{
	{"ranges", "a part of an object can be read alone", ranges},
	{"conditional-get", "an object that has not changed is not transferred again", conditionalGet},
	{"leftovers", "what killed examinations left behind is removed", func(ctx context.Context, s *scratch) (finding, error) { return s.sweep(ctx) }},
}

func ranges(ctx context.Context, s *scratch) (finding, error) {
	const size = 64 << 10
	key, body := s.key("ranges"), make([]byte, size)
	if _, err := io.ReadFull(s.random, body); err != nil {
		return finding{}, fmt.Errorf("make an object: %w", err)
	}
	if _, err := s.put(ctx, key, body, blobstore.Always); err != nil {
		return finding{}, err
	}
	for _, part := range []struct{ offset, length int64 }{{0, 1000}, {1000, 4096}, {size - 10, 0}} {
		end := int64(size)
		if part.length > 0 {
			end = part.offset + part.length
		}
		got, err := s.part(ctx, key, blobstore.GetOptions{Offset: part.offset, Length: part.length})
		switch {
		case err != nil:
			return finding{}, err
		case !bytes.Equal(got, body[part.offset:end]):
			return finding{}, brokenf("bytes %d to %d of an object were asked for, and %d others came: no backup could be restored: use another store", part.offset, end-1, len(got))
		}
	}
	return saw("read as asked for")
}

func (s *scratch) part(ctx context.Context, key string, opt blobstore.GetOptions) ([]byte, error) {
	body, _, err := s.store.Get(ctx, key, opt)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, &blobstore.Error{Op: "get", Key: key, Kind: blobstore.ErrUnavailable, Err: fmt.Errorf("read body: %w", err)}
	}
	return data, nil
}

func conditionalGet(ctx context.Context, s *scratch) (finding, error) {
	key := s.key("unchanged")
	now, err := s.create(ctx, key)
	if err != nil {
		return finding{}, err
	}
	switch _, err := s.read(ctx, key, now.Token); {
	case errors.Is(err, blobstore.ErrNotModified):
		return saw("honoured")
	case err != nil:
		return finding{}, err
	}
	return finding{}, doubtf("the store sends an object again that has not changed: every poll costs a small transfer more")
}

package conformance

import (
	"bytes"
	"context"
	"errors"

	"github.com/understudy-ha/understudy/blobstore"
)

func readAfterWrite(ctx context.Context, s *scratch) (finding, error) {
	key := s.key("written")
	if _, err := s.read(ctx, key, ""); !errors.Is(err, blobstore.ErrNotFound) {
		if err == nil {
			err = brokenf("the store reads an object that nobody has written")
		}
		return finding{}, err
	}
	first, err := s.create(ctx, key)
	if err != nil {
		return finding{}, err
	}
	if err := s.fresh(ctx, key, first, ""); err != nil {
		return finding{}, err
	}
	return saw("at once")
}

func readAfterOverwrite(ctx context.Context, s *scratch) (finding, error) {
	key := s.key("overwritten")
	last, err := s.create(ctx, key)
	if err != nil {
		return finding{}, err
	}
	if err := s.fresh(ctx, key, last, ""); err != nil {
		return finding{}, err
	}
	for i := range overwrites {
		next, err := s.write(ctx, key, blobstore.IfMatch(last.Token))
		if err != nil {
			return finding{}, err
		}
		// Either way of reading: as a poll does, and as a first look does.
		seen := blobstore.Token("")
		if i%2 == 0 {
			seen = last.Token
		}
		if err := s.fresh(ctx, key, next, seen); err != nil {
			return finding{}, err
		}
		last = next
	}
	return saw("at once, %d of %d times", overwrites, overwrites)
}

// fresh expects that a read and a question for the attributes give the version
// that was written last. A token makes the read one that wants changes only.
func (s *scratch) fresh(ctx context.Context, key string, want version, seen blobstore.Token) error {
	got, err := s.read(ctx, key, seen)
	switch {
	case errors.Is(err, blobstore.ErrNotFound):
		return brokenf("an object reads as missing right after it was written: %s", staleReads)
	case errors.Is(err, blobstore.ErrNotModified):
		return brokenf("an object reads as unchanged right after it was overwritten: %s", staleReads)
	case err != nil:
		return err
	case !bytes.Equal(got.body, want.body):
		return brokenf("a read right after a write gives what was there before: %s", staleReads)
	case got.Token != want.Token:
		return brokenf("a read right after a write gives another token (ETag) than the write did: %s", staleReads)
	}
	attrs, err := s.store.Stat(ctx, key)
	switch {
	case errors.Is(err, blobstore.ErrNotFound), err == nil && attrs.Token != want.Token:
		return brokenf("a question for an object's attributes (HEAD) right after a write tells of the version before: %s", staleReads)
	case err != nil:
		return err
	}
	return nil
}

const staleLists = "backups and instances would be missing from what people and standbys see: use another store, or no cache before it"

func listAfterWrite(ctx context.Context, s *scratch) (finding, error) {
	key := s.key("listed")
	if _, _, err := s.listed(ctx, key); err != nil {
		return finding{}, err
	}
	last, err := s.create(ctx, key)
	if err != nil {
		return finding{}, err
	}
	for range 2 {
		attrs, found, err := s.listed(ctx, key)
		switch {
		case err != nil:
			return finding{}, err
		case !found:
			return finding{}, brokenf("a list does not show what was just written: %s", staleLists)
		case attrs.Token != last.Token:
			return finding{}, brokenf("a list shows the version before the one that was just written: %s", staleLists)
		}
		if last, err = s.write(ctx, key, blobstore.IfMatch(last.Token)); err != nil {
			return finding{}, err
		}
	}
	return saw("at once")
}

func listAfterDelete(ctx context.Context, s *scratch) (finding, error) {
	key := s.key("unlisted")
	if _, err := s.create(ctx, key); err != nil {
		return finding{}, err
	}
	if _, found, err := s.listed(ctx, key); err != nil || !found {
		if err == nil {
			err = brokenf("a list does not show what was just written: %s", staleLists)
		}
		return finding{}, err
	}
	if err := s.store.Delete(ctx, key); err != nil {
		return finding{}, deniedDelete(err)
	}
	switch _, found, err := s.listed(ctx, key); {
	case err != nil:
		return finding{}, err
	case found:
		return finding{}, brokenf("a list still shows what was just deleted: %s", staleLists)
	}
	return saw("at once")
}

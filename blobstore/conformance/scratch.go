package conformance

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/understudy-ha/understudy/blobstore"
)

// Prefix is where examinations keep their scratch objects. Nobody else reads there.
const Prefix = "probe/"

const (
	cleanTimeout = 10 * time.Second
	cleanAtOnce  = 8
	// maxSmall bounds what is read of a small scratch object.
	maxSmall = 4 << 10
	// leftover is the age, in the store's time, from which an object below
	// Prefix belongs to no examination that still runs.
	leftover = time.Hour
)

// scratch is a folder of the store that one examination has to itself. It is safe
// for concurrent use.
type scratch struct {
	store  blobstore.Store
	random io.Reader
	folder string // with a slash at its end

	mu     sync.Mutex
	keys   []string // that may be there
	writes int      // so that each has other content
}

func newScratch(store blobstore.Store, random io.Reader) (*scratch, error) {
	var nonce [12]byte
	if _, err := io.ReadFull(random, nonce[:]); err != nil {
		return nil, fmt.Errorf("name a scratch folder: %w", err)
	}
	return &scratch{store: store, random: random, folder: Prefix + hex.EncodeToString(nonce[:]) + "/"}, nil
}

// key is the key of a scratch object.
func (s *scratch) key(name string) string { return s.folder + name }

// body is a small content that no other object has.
func (s *scratch) body(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	return fmt.Appendf(nil, "%s %d", key, s.writes)
}

// put writes an object that clean will delete.
func (s *scratch) put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	s.mu.Lock()
	if !slices.Contains(s.keys, key) {
		s.keys = append(s.keys, key)
	}
	s.mu.Unlock()
	return s.store.Put(ctx, key, body, cond)
}

// version is one version of an object, as its writer knows it.
type version struct {
	body []byte
	blobstore.Attrs
}

// write puts a new version, and goes on until it is known what came of it:
// ErrPrecondition then says that the store refused it.
func (s *scratch) write(ctx context.Context, key string, cond blobstore.Condition) (version, error) {
	body := s.body(key)
	return settle(ctx, func() (version, error) {
		attrs, err := s.put(ctx, key, body, cond)
		if err == nil || !unsettled(err) {
			return version{body, attrs}, err
		}
		if now, missed := s.read(ctx, key, ""); missed == nil && bytes.Equal(now.body, body) {
			return now, nil
		}
		return version{}, err
	})
}

// settleTries is how often it is tried to learn what came of a write, with
// pauses of some seconds in all.
const settleTries = 6

// settle repeats what is to be repeated until it is known what came of it. An
// error says what failed last, also when the context ended.
func settle[T any](ctx context.Context, try func() (T, error)) (T, error) {
	var last error
	result, err := backoff.Retry(ctx, func() (T, error) {
		result, err := try()
		if last = err; err != nil && (!unsettled(err) || ctx.Err() != nil) {
			err = backoff.Permanent(err)
		}
		return result, err
	}, backoff.WithMaxTries(settleTries), backoff.WithMaxElapsedTime(0))
	if err != nil && last != nil {
		return result, last
	}
	return result, err
}

// unsettled reports whether a write of a condition may have happened, or may
// do so if it is tried again.
func unsettled(err error) bool {
	return errors.Is(err, blobstore.ErrUnknownOutcome) || blobstore.Transient(err)
}

// create makes an object and gives its version.
func (s *scratch) create(ctx context.Context, key string) (version, error) {
	return s.write(ctx, key, blobstore.IfAbsent())
}

// refused expects a write to be refused; otherwise it is a broken promise, in
// the words given.
func (s *scratch) refused(ctx context.Context, key string, cond blobstore.Condition, otherwise string) error {
	switch _, err := s.write(ctx, key, cond); {
	case err == nil:
		return brokenf("%s", otherwise)
	case errors.Is(err, blobstore.ErrPrecondition):
		return nil
	default:
		return err
	}
}

// read reads a small object; with a token only if it has changed.
func (s *scratch) read(ctx context.Context, key string, seen blobstore.Token) (version, error) {
	body, attrs, err := blobstore.ReadChanged(ctx, s.store, key, seen, maxSmall)
	return version{body, attrs}, err
}

// listed looks for a key in a list of the scratch folder.
func (s *scratch) listed(ctx context.Context, key string) (blobstore.Attrs, bool, error) {
	for attrs, err := range s.store.List(ctx, s.folder, "") {
		if err != nil {
			return blobstore.Attrs{}, false, err
		}
		if attrs.Key == key {
			return attrs, true, nil
		}
	}
	return blobstore.Attrs{}, false, nil
}

// clean deletes every scratch object, even if the examination was interrupted.
func (s *scratch) clean(ctx context.Context) (finding, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	s.mu.Lock()
	keys := slices.Clone(s.keys)
	s.mu.Unlock()
	if err := s.remove(ctx, keys); err != nil {
		return finding{}, doubtf("some of %d scratch objects stay in %s, where they do no harm: %v", len(keys), s.folder, err)
	}
	return saw("%d scratch objects deleted", len(keys))
}

// sweep deletes what killed examinations have left behind.
func (s *scratch) sweep(ctx context.Context) (finding, error) {
	key := s.key("now")
	now, err := s.put(ctx, key, s.body(key), blobstore.Always)
	if err != nil {
		return finding{}, err
	}
	var old []string
	for attrs, err := range s.store.List(ctx, Prefix, "") {
		if err != nil {
			return finding{}, err
		}
		if now.Time.Sub(attrs.Time) > leftover {
			old = append(old, attrs.Key)
		}
	}
	if err := s.remove(ctx, old); err != nil {
		return finding{}, doubtf("%d old scratch objects stay below %s, where they do no harm: %v", len(old), Prefix, err)
	}
	return saw("%d old scratch objects deleted", len(old))
}

func (s *scratch) remove(ctx context.Context, keys []string) error {
	var g errgroup.Group // without a context: one that fails does not stop the others
	g.SetLimit(cleanAtOnce)
	for _, key := range keys {
		g.Go(func() error { return s.store.Delete(ctx, key) })
	}
	return g.Wait()
}

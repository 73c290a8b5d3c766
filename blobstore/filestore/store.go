package filestore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
)

// Scheme is the URL scheme that Open serves.
const Scheme = "file"

const (
	ownDir   = ".store"
	tempDir  = "tmp"
	lockName = "lock"

	filePerm = 0o644
	dirPerm  = 0o755
)

// Options tunes a store. The zero value is good.
type Options struct {
	// Now is the store's clock; nil means time.Now.
	Now func() time.Time
}

// Store is a blobstore.Store in a folder of the local file system.
type Store struct {
	dir    string
	now    func() time.Time
	lock   *lock
	synced map[string]bool // folders known to be durable; guarded by lock
	// step, in tests, is called at each named step of a write.
	step func(name string)
}

var _ blobstore.Store = (*Store)(nil)

// Open opens the store that a file:///absolute/path URL names. It is a
// blobstore.Opener.
func Open(ctx context.Context, u *url.URL) (blobstore.Store, error) {
	switch {
	case u.Host != "" && u.Host != "localhost":
		return nil, fmt.Errorf("the URL names the host %q; want file:///absolute/path", u.Host)
	case u.Opaque != "" || !filepath.IsAbs(u.Path):
		return nil, errors.New("the path is not absolute; want file:///absolute/path")
	case u.RawQuery != "":
		return nil, fmt.Errorf("a file URL takes no parameters, and this one has %q", u.RawQuery)
	}
	return New(ctx, u.Path, Options{})
}

// New opens the store in the folder dir, which need not exist before the first
// write, and removes temporary files that dead writers left behind.
func New(ctx context.Context, dir string, opt Options) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find folder %s: %w", dir, err)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	s := &Store{
		dir:    abs,
		now:    opt.Now,
		synced: make(map[string]bool),
		step:   func(string) {},
	}
	s.lock = newLock(s.own(lockName))
	if err := s.removeStale(ctx); err != nil {
		return nil, fmt.Errorf("remove stale temporary files: %w", err)
	}
	return s, nil
}

// path is the file that holds a blob.
func (s *Store) path(key string) string { return filepath.Join(s.dir, filepath.FromSlash(key)) }

// own is a file or folder of the store itself.
func (s *Store) own(name string) string { return filepath.Join(s.dir, ownDir, name) }

// admit refuses work on a bad key or for a caller that has gone.
func admit(ctx context.Context, op, key string) error {
	if err := ctx.Err(); err != nil {
		return fail(op, key, blobstore.ErrUnavailable, err)
	}
	if err := blobstore.CheckKey(key); err != nil {
		return fail(op, key, blobstore.ErrInvalid, err)
	}
	return nil
}

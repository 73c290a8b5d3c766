package blobstore

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"time"
)

// ErrNoVersions says that a bucket does not keep what was overwritten or
// deleted.
var ErrNoVersions = errors.New("the bucket keeps no earlier versions of its objects")

var errAsOf = errors.New("the bucket as it was at an earlier time cannot be changed")

// AsOf is a store as it was at a time, by the store's own clock, for reading. It
// is ErrNoVersions where the bucket keeps no versions. What lifecycle rules have
// deleted since is missing.
func AsOf(ctx context.Context, s Store, at time.Time) (Store, error) {
	versions, ok := As[Versions](s)
	if !ok {
		return nil, ErrNoVersions
	}
	kept, err := versions.KeepsVersions(ctx)
	if err != nil {
		return nil, err
	}
	if !kept {
		return nil, ErrNoVersions
	}
	return &asOf{s: s, versions: versions, at: at}, nil
}

type asOf struct {
	s        Store
	versions Versions
	at       time.Time
	found    sync.Map // by key: the Version that was in force
}

// Unwrap implements Wrapper.
func (a *asOf) Unwrap() Store { return a.s }

// version finds the version of a blob that was in force.
func (a *asOf) version(ctx context.Context, op, key string) (Version, error) {
	if err := CheckKey(key); err != nil {
		return Version{}, &Error{Op: op, Key: key, Kind: ErrInvalid, Err: err}
	}
	if known, ok := a.found.Load(key); ok {
		return known.(Version), nil
	}
	for v, err := range VersionsOf(ctx, a.versions, key) {
		if err != nil {
			return Version{}, err
		}
		if v.Time.After(a.at) {
			continue
		}
		if v.Deleted {
			break
		}
		a.found.Store(key, v)
		return v, nil
	}
	return Version{}, &Error{Op: op, Key: key, Kind: ErrNotFound, Err: errors.New("it did not exist at " + a.at.UTC().Format(time.RFC3339))}
}

func (a *asOf) Get(ctx context.Context, key string, opt GetOptions) (io.ReadCloser, Attrs, error) {
	v, err := a.version(ctx, "get", key)
	if err != nil {
		return nil, Attrs{}, err
	}
	return a.versions.GetVersion(ctx, key, v.ID, opt)
}

func (a *asOf) Stat(ctx context.Context, key string) (Attrs, error) {
	v, err := a.version(ctx, "stat", key)
	return v.Attrs, err
}

func (a *asOf) List(ctx context.Context, prefix, after string) iter.Seq2[Attrs, error] {
	return func(yield func(Attrs, error) bool) {
		done := "" // the key of which the version in force was seen
		for v, err := range a.versions.Versions(ctx, prefix) {
			switch {
			case err != nil:
				yield(Attrs{}, err)
				return
			case v.Key <= after, v.Key == done, v.Time.After(a.at):
				continue
			}
			if done = v.Key; !v.Deleted && !yield(v.Attrs, nil) {
				return
			}
		}
	}
}

func (a *asOf) Put(_ context.Context, key string, _ []byte, _ Condition) (Attrs, error) {
	return Attrs{}, &Error{Op: "put", Key: key, Kind: ErrInvalid, Err: errAsOf}
}

func (a *asOf) Delete(_ context.Context, key string) error {
	return &Error{Op: "delete", Key: key, Kind: ErrInvalid, Err: errAsOf}
}

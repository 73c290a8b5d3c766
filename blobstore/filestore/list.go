package filestore

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
)

// List implements blobstore.Store. It holds the names of one folder per level
// in memory, and enters no folder that cannot hold a wanted key.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		if err := blobstore.CheckPrefix(prefix); err != nil {
			yield(blobstore.Attrs{}, fail("list", prefix, blobstore.ErrInvalid, err))
			return
		}
		l := &listing{ctx: ctx, s: s, prefix: prefix, after: after, yield: yield}
		start := "" // the deepest folder that holds all wanted keys, with its slash
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			start = prefix[:i+1]
		}
		err := l.folder(start)
		var known *blobstore.Error
		if err != nil && !errors.As(err, &known) {
			err = translate("list", prefix, err)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(blobstore.Attrs{}, err)
		}
	}
}

// errStopped says that the consumer of a listing wants no more.
var errStopped = errors.New("stopped")

type listing struct {
	ctx           context.Context
	s             *Store
	prefix, after string
	yield         func(blobstore.Attrs, error) bool
}

// folder lists one folder, given as "" or with a slash at its end.
func (l *listing) folder(folder string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	keys, err := l.keys(folder)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if strings.HasSuffix(key, "/") {
			err = l.folder(key)
		} else {
			err = l.file(key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keys returns what a folder holds and the listing wants, in the byte order
// of whole keys: folders carry their slash, because "a-b" sorts before "a/b".
func (l *listing) keys(folder string) ([]string, error) {
	entries, err := os.ReadDir(l.s.path(folder))
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(entries))
	for _, entry := range entries {
		key := folder + entry.Name()
		if blobstore.CheckKey(key) != nil {
			continue // the store's own folder, or something that somebody put here
		}
		if l.isDir(key, entry) {
			key += "/"
		}
		if l.wants(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

func (l *listing) isDir(key string, entry fs.DirEntry) bool {
	if entry.Type()&fs.ModeSymlink == 0 {
		return entry.IsDir()
	}
	info, err := os.Stat(l.s.path(key))
	return err == nil && info.IsDir()
}

// wants reports whether a file, or anything in a folder, is to be listed.
func (l *listing) wants(key string) bool {
	if !strings.HasSuffix(key, "/") {
		return strings.HasPrefix(key, l.prefix) && key > l.after
	}
	return (strings.HasPrefix(key, l.prefix) || strings.HasPrefix(l.prefix, key)) &&
		(key > l.after || strings.HasPrefix(l.after, key))
}

func (l *listing) file(key string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	attrs, err := l.s.stat("list", key)
	if errors.Is(err, blobstore.ErrNotFound) {
		return nil // deleted meanwhile, or not a regular file
	}
	if err != nil {
		return err
	}
	if !l.yield(attrs, nil) {
		return errStopped
	}
	return nil
}

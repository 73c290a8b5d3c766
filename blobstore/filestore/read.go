package filestore

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/understudy-ha/understudy/blobstore"
)

// Get implements blobstore.Store. The body is of one version even if the blob
// is replaced or deleted while it is read.
func (s *Store) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if err := admit(ctx, "get", key); err != nil {
		return nil, blobstore.Attrs{}, err
	}
	file, attrs, err := s.open(key)
	if err != nil {
		return nil, blobstore.Attrs{}, err
	}
	if opt.IfChanged != "" && opt.IfChanged == attrs.Token {
		file.Close()
		return nil, blobstore.Attrs{}, fail("get", key, blobstore.ErrNotModified, nil)
	}
	if opt.Offset < 0 || opt.Length < 0 || opt.Offset > 0 && opt.Offset >= attrs.Size {
		file.Close()
		return nil, blobstore.Attrs{}, fail("get", key, blobstore.ErrInvalid,
			fmt.Errorf("range %d+%d of %d bytes", opt.Offset, opt.Length, attrs.Size))
	}
	length := attrs.Size - opt.Offset
	if opt.Length > 0 {
		length = min(length, opt.Length)
	}
	return &body{ctx: ctx, file: file, part: io.NewSectionReader(file, opt.Offset, length)}, attrs, nil
}

// Stat implements blobstore.Store.
func (s *Store) Stat(ctx context.Context, key string) (blobstore.Attrs, error) {
	if err := admit(ctx, "stat", key); err != nil {
		return blobstore.Attrs{}, err
	}
	return s.stat("stat", key)
}

func (s *Store) open(key string) (*os.File, blobstore.Attrs, error) {
	file, err := os.Open(s.path(key))
	if missing(err) {
		return nil, blobstore.Attrs{}, fail("get", key, blobstore.ErrNotFound, err)
	}
	if err != nil {
		return nil, blobstore.Attrs{}, translate("get", key, err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, blobstore.Attrs{}, translate("get", key, err)
	}
	if !info.Mode().IsRegular() {
		file.Close()
		return nil, blobstore.Attrs{}, fail("get", key, blobstore.ErrNotFound, nil)
	}
	return file, attrsOf(key, info), nil
}

func (s *Store) stat(op, key string) (blobstore.Attrs, error) {
	info, err := os.Stat(s.path(key))
	switch {
	case missing(err):
		return blobstore.Attrs{}, fail(op, key, blobstore.ErrNotFound, err)
	case err != nil:
		return blobstore.Attrs{}, translate(op, key, err)
	case !info.Mode().IsRegular():
		return blobstore.Attrs{}, fail(op, key, blobstore.ErrNotFound, nil)
	}
	return attrsOf(key, info), nil
}

// body is a part of an open file, readable until its context is done.
type body struct {
	ctx  context.Context // of the Get that opened it
	file *os.File
	part *io.SectionReader
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.part.Read(p)
}

func (b *body) Close() error { return b.file.Close() }

package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/understudy-ha/understudy/blobstore"
)

// MaxPrefix leaves room for a key of blobstore.MaxKey below the 1,024 bytes
// that every provider allows.
const MaxPrefix = 200

// Prefix returns what all keys of a store begin with, given the path of its
// URL: "", or a prefix that ends with a slash.
func Prefix(path string) (string, error) {
	prefix := strings.Trim(path, "/")
	if prefix == "" {
		return "", nil
	}
	if err := blobstore.CheckKey(prefix); err != nil {
		return "", fmt.Errorf("the prefix %.40q cannot begin a key: %w", prefix, err)
	}
	if len(prefix) > MaxPrefix {
		return "", fmt.Errorf("the prefix %.40q has more than %d bytes", prefix, MaxPrefix)
	}
	return prefix + "/", nil
}

// Admit refuses work on a bad key or for a caller that has gone.
func Admit(ctx context.Context, op, key string) error {
	if err := ctx.Err(); err != nil {
		return Fail(op, key, blobstore.ErrUnavailable, err)
	}
	if err := blobstore.CheckKey(key); err != nil {
		return Fail(op, key, blobstore.ErrInvalid, err)
	}
	return nil
}

// AdmitGet is Admit for a read, whose range it checks as well.
func AdmitGet(ctx context.Context, key string, opt blobstore.GetOptions) error {
	if opt.Offset < 0 || opt.Length < 0 {
		return Fail("get", key, blobstore.ErrInvalid, fmt.Errorf("range %d+%d", opt.Offset, opt.Length))
	}
	return Admit(ctx, "get", key)
}

// AdmitList refuses to list below a prefix that no key can have.
func AdmitList(ctx context.Context, prefix string) error {
	if err := ctx.Err(); err != nil {
		return Fail("list", prefix, blobstore.ErrUnavailable, err)
	}
	if err := blobstore.CheckPrefix(prefix); err != nil {
		return Fail("list", prefix, blobstore.ErrInvalid, err)
	}
	return nil
}

// Range is the header for what a read asks for; "" for all of it.
func Range(opt blobstore.GetOptions) string {
	switch {
	case opt.Length > 0:
		return fmt.Sprintf("bytes=%d-%d", opt.Offset, opt.Offset+opt.Length-1)
	case opt.Offset > 0:
		return fmt.Sprintf("bytes=%d-", opt.Offset)
	}
	return ""
}

// WholeSize returns the size of a blob of which opt asked for, by what the answer says:
// a header like "bytes 0-99/1234", or none, and the length of its body. It is an error if
// the body does not begin with the first byte that was asked for, or goes on behind the
// last: who heeds no ranges, such as some proxies, answers with the whole blob.
func WholeSize(opt blobstore.GetOptions, contentRange string, length int64) (int64, error) {
	if contentRange == "" {
		if opt.Offset > 0 && length != 0 || opt.Length > 0 && (length < 0 || length > opt.Length) {
			return 0, fmt.Errorf("the store sent the whole blob, where %s was asked for", Range(opt))
		}
		return length, nil
	}
	var first, last, size int64
	if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &size); err != nil {
		return 0, fmt.Errorf("the store sent the range %q, which tells no size", contentRange)
	}
	if first != opt.Offset || opt.Length > 0 && last-first >= opt.Length {
		return 0, fmt.Errorf("the store sent the range %q, where %s was asked for", contentRange, Range(opt))
	}
	return size, nil
}

// IsStranger reports whether an object's name, below a store's prefix, is no
// key. An empty name is of the object that some tools keep for the prefix's
// folder.
func IsStranger(name string) bool { return name != "" && blobstore.CheckKey(name) != nil }

// GetEmpty answers a read of the first bytes of a blob that has none, which
// some stores refuse as a range past its end.
func GetEmpty(ctx context.Context, s blobstore.Store, key string) (io.ReadCloser, blobstore.Attrs, error) {
	attrs, err := s.Stat(ctx, key)
	if err != nil {
		return nil, blobstore.Attrs{}, err
	}
	if attrs.Size > 0 {
		return nil, blobstore.Attrs{}, Fail("get", key, blobstore.ErrUnavailable, errors.New("the blob changed while it was opened"))
	}
	return http.NoBody, attrs, nil
}

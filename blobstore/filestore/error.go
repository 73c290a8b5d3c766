package filestore

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/understudy-ha/understudy/blobstore"
)

func fail(op, key string, kind, err error) error {
	return &blobstore.Error{Op: op, Key: key, Kind: kind, Err: err}
}

// errCoarse says that the file system cannot tell versions apart.
var errCoarse = errors.New("the file system does not keep nanoseconds in modification times")

// translate gives a file system's error its kind. A missing file is no kind of
// its own: what that means, only the caller knows.
func translate(op, key string, err error) error {
	return fail(op, key, kindOf(err), err)
}

func kindOf(err error) error {
	switch {
	case errors.Is(err, errCoarse):
		return blobstore.ErrInvalid
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return blobstore.ErrDenied
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return blobstore.ErrInvalid
	default:
		return blobstore.ErrUnavailable
	}
}

// missing reports whether err says that there is no such blob: no such file,
// or a file where one of its folders would be.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

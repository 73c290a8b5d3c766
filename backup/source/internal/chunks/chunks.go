// Package chunks is what sources need of the reading and writing of packs.
package chunks

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
)

// Reader is what the reading of a directory needs of a pack.Reader.
type Reader interface {
	Open(ctx context.Context, s pack.Stream) io.ReadCloser
}

// Writer is what a dump of a directory needs of a pack.Writer.
type Writer interface {
	Write(ctx context.Context, r io.Reader, p pack.Profile) (pack.Stream, error)
	WriteOver(ctx context.Context, r io.Reader, p pack.Profile, old pack.Stream) (pack.Stream, error)
	Keep(s pack.Stream) bool
}

// Copy writes all of s to w, and fails unless it is as long as it claims.
func Copy(ctx context.Context, r Reader, s pack.Stream, w io.Writer) (err error) {
	in := r.Open(ctx, s)
	defer func() { err = errors.Join(err, in.Close()) }()
	n, err := io.Copy(w, in)
	if err != nil {
		return err
	}
	if n != s.Size {
		return fmt.Errorf("stream has %d bytes instead of %d", n, s.Size)
	}
	return nil
}

// ToFile writes s to a file at path, anew, durably but for the folder's
// entry.
func ToFile(ctx context.Context, r Reader, s pack.Stream, path string) error {
	return fsx.WriteFile(path, func(w io.Writer) error { return Copy(ctx, r, s, w) })
}

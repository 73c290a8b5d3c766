package source

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/understudy-ha/understudy/backup/pack"
)

// chunkReader is what the reading of a directory needs of a pack.Reader.
type chunkReader interface {
	Open(ctx context.Context, s pack.Stream) io.ReadCloser
}

// chunkWriter is what a dump of a directory needs of a pack.Writer.
type chunkWriter interface {
	Write(ctx context.Context, r io.Reader, p pack.Profile) (pack.Stream, error)
	Keep(s pack.Stream) bool
}

// copyStream writes all of s to w, and fails unless it is as long as it claims.
func copyStream(ctx context.Context, r chunkReader, s pack.Stream, w io.Writer) (err error) {
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

// streamToFile writes s to a file at path, anew, durably but for the folder's
// entry.
func streamToFile(ctx context.Context, r chunkReader, s pack.Stream, path string) error {
	return writeFile(path, func(w io.Writer) error { return copyStream(ctx, r, s, w) })
}

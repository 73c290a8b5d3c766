package blobstore

import (
	"context"
	"fmt"
	"io"
)

// TooLongError says that a blob was not read because it has more bytes than its reader
// allows: so it is not what its reader expects. Other errors of the kind ErrInvalid say
// nothing of what is in the blob.
type TooLongError struct{ Size, Limit int64 }

func (e *TooLongError) Error() string {
	return fmt.Sprintf("the blob has %d bytes, more than the %d allowed", e.Size, e.Limit)
}

// ReadAll reads a whole blob into memory. A blob of more than limit bytes is
// ErrInvalid by a TooLongError, and is not read; a body that breaks off or does not have the
// blob's size is ErrUnavailable.
func ReadAll(ctx context.Context, s Store, key string, limit int64) ([]byte, Attrs, error) {
	return ReadChanged(ctx, s, key, "", limit)
}

// ReadChanged is ReadAll for pollers: while the blob's token is still seen, it
// is ErrNotModified and no body is transferred. An empty token reads always.
func ReadChanged(ctx context.Context, s Store, key string, seen Token, limit int64) ([]byte, Attrs, error) {
	body, attrs, err := s.Get(ctx, key, GetOptions{IfChanged: seen})
	if err != nil {
		return nil, Attrs{}, err
	}
	defer body.Close() // read to the end or failed: closing tells nothing new
	data, err := readWhole(key, body, attrs, limit)
	if err != nil {
		return nil, Attrs{}, err
	}
	return data, attrs, nil
}

// readWhole reads a body into memory, to its end.
func readWhole(key string, body io.Reader, attrs Attrs, limit int64) ([]byte, error) {
	broken := func(err error) error { return &Error{Op: "get", Key: key, Kind: ErrUnavailable, Err: err} }
	if attrs.Size < 0 {
		return nil, broken(fmt.Errorf("the answer has %d bytes", attrs.Size))
	}
	if attrs.Size > limit {
		return nil, &Error{Op: "get", Key: key, Kind: ErrInvalid,
			Err: &TooLongError{Size: attrs.Size, Limit: limit}}
	}
	data := make([]byte, attrs.Size)
	if _, err := io.ReadFull(body, data); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, broken(fmt.Errorf("read body: %w", err))
	}
	// A last read makes the provider check what it checks at the end of a body.
	if n, err := io.Copy(io.Discard, io.LimitReader(body, 1)); n != 0 || err != nil {
		if err == nil {
			err = fmt.Errorf("the body is longer than the blob's %d bytes", attrs.Size)
		}
		return nil, broken(fmt.Errorf("read body: %w", err))
	}
	return data, nil
}

// ReadFirst reads the first n bytes of a blob into memory, or all that it has if it has
// fewer. A body that breaks off is ErrUnavailable.
func ReadFirst(ctx context.Context, s Store, key string, n int64) ([]byte, error) {
	body, attrs, err := s.Get(ctx, key, GetOptions{Length: n})
	if err != nil {
		return nil, err
	}
	defer body.Close() // read to the end or failed: closing tells nothing new
	data := make([]byte, max(0, min(n, attrs.Size)))
	if _, err := io.ReadFull(body, data); err != nil {
		return nil, &Error{Op: "get", Key: key, Kind: ErrUnavailable, Err: fmt.Errorf("read body: %w", err)}
	}
	return data, nil
}

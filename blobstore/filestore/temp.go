package filestore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	// writePiece is how much is written between two looks at the context.
	writePiece = 1 << 20
	// syncFirst is the size from which on a body is flushed before the lock
	// is taken, so that other writers need not wait for it.
	syncFirst = 256 << 10
	// staleAfter is the age at which a temporary file has no living writer.
	staleAfter = time.Hour
)

// tempFile is a body on its way to its place.
type tempFile struct {
	file   *os.File
	landed bool
}

// discard closes the file and, unless it has landed, removes it.
func (t *tempFile) discard() {
	// Errors are of no consequence: the data was flushed before, and a file
	// that cannot be removed now is stale later.
	_ = t.file.Close()
	if !t.landed {
		_ = os.Remove(t.file.Name())
	}
}

// writeTemp writes a body to a new temporary file.
func (s *Store) writeTemp(ctx context.Context, body []byte) (*tempFile, error) {
	file, err := s.createTemp()
	if err != nil {
		return nil, fmt.Errorf("create temporary file: %w", err)
	}
	temp := &tempFile{file: file}
	if err := s.fill(ctx, file, body); err != nil {
		temp.discard()
		return nil, fmt.Errorf("write temporary file: %w", err)
	}
	s.step("written")
	return temp, nil
}

func (s *Store) createTemp() (*os.File, error) {
	name := filepath.Join(s.own(tempDir), rand.Text())
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	file, err := os.OpenFile(name, flags, filePerm)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(name), dirPerm); err != nil {
			return nil, err
		}
		file, err = os.OpenFile(name, flags, filePerm)
	}
	return file, err
}

func (s *Store) fill(ctx context.Context, file *os.File, body []byte) error {
	large := len(body) >= syncFirst
	for len(body) > 0 {
		piece := body[:min(len(body), writePiece)]
		if _, err := file.Write(piece); err != nil {
			return err
		}
		body = body[len(piece):]
		s.step("piece")
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if large {
		return file.Sync()
	}
	return nil
}

// removeStale removes temporary files whose writers must be dead. A store
// that cannot be written needs no tidying.
func (s *Store) removeStale(ctx context.Context) error {
	dir := s.own(tempDir)
	entries, err := os.ReadDir(dir)
	if missing(err) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || s.now().Sub(info.ModTime()) < staleAfter {
			continue // gone meanwhile, or perhaps alive
		}
		// Failure is harmless: the next one to open the store tries again.
		_ = os.Remove(filepath.Join(dir, entry.Name()))
	}
	return nil
}

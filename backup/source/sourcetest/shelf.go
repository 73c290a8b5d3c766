package sourcetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
)

// Shelf keeps backups of one source in memory, each against the one before.
type Shelf struct {
	keys seal.DataKeys
	prev *source.Previous
	last *pack.Index

	mu    sync.Mutex
	Packs map[pack.Digest][]byte
}

// NewShelf is empty.
func NewShelf(t testing.TB) *Shelf {
	t.Helper()
	keys, err := seal.NewDataKeys(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &Shelf{keys: keys, Packs: map[pack.Digest][]byte{}}
}

func (s *Shelf) put(_ context.Context, info pack.Info, data []byte) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Packs[info.Digest] = bytes.Clone(data)
	return time.Unix(1, 0), nil
}

// ReadPack implements pack.Packs.
func (s *Shelf) ReadPack(_ context.Context, d pack.Digest, off int64, buf []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.Packs[d]
	if !ok {
		return fmt.Errorf("pack %x: %w", d, fs.ErrNotExist)
	}
	if off > int64(len(data)) || copy(buf, data[off:]) < len(buf) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// TryBackup dumps src against the last backup.
func (s *Shelf) TryBackup(ctx context.Context, src source.Source) (source.Entry, pack.Stats, error) {
	w, err := pack.NewWriter(ctx, pack.WriterConfig{Cluster: "c", Keys: s.keys, Known: s.last, Put: s.put})
	if err != nil {
		return source.Entry{}, pack.Stats{}, err
	}
	e, err := src.Dump(ctx, w, s.prev)
	if err != nil {
		w.Abort()
		return source.Entry{}, pack.Stats{}, err
	}
	ref, stats, err := w.Close(ctx)
	if err != nil {
		return source.Entry{}, pack.Stats{}, err
	}
	if s.last, err = pack.LoadIndex(ctx, "c", s.keys, s, ref); err != nil {
		return source.Entry{}, pack.Stats{}, err
	}
	s.prev = &source.Previous{Entry: e, Reader: s.Reader()}
	return e, stats, nil
}

// Backup is TryBackup, which must succeed.
func (s *Shelf) Backup(t testing.TB, src source.Source) (source.Entry, pack.Stats) {
	t.Helper()
	e, stats, err := s.TryBackup(t.Context(), src)
	if err != nil {
		t.Fatalf("back up: %v", err)
	}
	return e, stats
}

// Reader reads the last backup.
func (s *Shelf) Reader() *pack.Reader { return pack.NewReader("c", s.keys, s.last, s) }

// Stage stages an entry of the last backup.
func (s *Shelf) Stage(t testing.TB, src source.Source, e source.Entry) {
	t.Helper()
	if err := src.Stage(t.Context(), s.Reader(), e); err != nil {
		t.Fatal(err)
	}
}

// Must fails the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// StopAfter makes a fault that stops a swap after its n-th step, and a
// function that tells whether it did.
func StopAfter(n int) (fault func(string) error, stopped func() bool) {
	steps := 0
	return func(step string) error {
		if steps++; steps == n {
			return fmt.Errorf("stopped after step %d, %q", n, step)
		}
		return nil
	}, func() bool { return steps >= n }
}

// MustFail fails the test unless err holds every one of the texts.
func MustFail(t testing.TB, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("succeeded, wanted an error with %q", texts)
	}
	for _, text := range texts {
		if !bytes.Contains([]byte(err.Error()), []byte(text)) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

// MustSweep deletes what a source has set aside, all of it.
func MustSweep(t *testing.T, s source.Sweeper) {
	t.Helper()
	if left, err := s.Sweep(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("after a sweep %v is left: %v", left, err)
	}
}

// Export writes the last backup's database to a new file.
func Export(t testing.TB, s *Shelf, e source.Entry) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "exported.db")
	Must(t, source.Export(t.Context(), s.Reader(), e, path))
	return path
}

// ReadText reads a file.
func ReadText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	Must(t, err)
	return string(b)
}

// Side backs a source up, and gives that as one side of a comparison.
func (s *Shelf) Side(t testing.TB, src source.Source) source.Side {
	t.Helper()
	e, _ := s.Backup(t, src)
	return source.Side{Entry: e, Reader: s.Reader()}
}

// LastSide is the last backup.
func (s *Shelf) LastSide() source.Side {
	return source.Side{Entry: s.prev.Entry, Reader: s.prev.Reader}
}

// Compared compares two sides of one shelf, and gives the changes too.
func Compared(t testing.TB, a, b source.Side, sameKeys bool) (source.Difference, []source.Change) {
	t.Helper()
	var changes []source.Change
	scratch := t.TempDir()
	d, err := source.Compare(t.Context(), a, b, source.CompareOptions{SameKeys: sameKeys, Scratch: scratch, Found: func(c source.Change) error {
		changes = append(changes, c)
		return nil
	}})
	Must(t, err)
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left in the scratch folder: %v %v", left, err)
	}
	return d, changes
}

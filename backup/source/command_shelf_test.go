package source

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
)

// shelf keeps backups of one source in memory, each against the one before.
type shelf struct {
	keys seal.DataKeys
	prev *Previous
	last *pack.Index

	mu    sync.Mutex
	packs map[pack.Digest][]byte
}

func newShelf(t testing.TB) *shelf {
	t.Helper()
	keys, err := seal.NewDataKeys(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &shelf{keys: keys, packs: map[pack.Digest][]byte{}}
}

func (s *shelf) put(_ context.Context, info pack.Info, data []byte) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packs[info.Digest] = bytes.Clone(data)
	return time.Unix(1, 0), nil
}

// ReadPack implements pack.Packs.
func (s *shelf) ReadPack(_ context.Context, d pack.Digest, off int64, buf []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.packs[d]
	if !ok {
		return fmt.Errorf("pack %x: %w", d, fs.ErrNotExist)
	}
	if off > int64(len(data)) || copy(buf, data[off:]) < len(buf) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// tryBackup dumps src against the last backup.
func (s *shelf) tryBackup(ctx context.Context, src Source) (Entry, pack.Stats, error) {
	w, err := pack.NewWriter(ctx, pack.WriterConfig{Cluster: "c", Keys: s.keys, Known: s.last, Put: s.put})
	if err != nil {
		return Entry{}, pack.Stats{}, err
	}
	e, err := src.Dump(ctx, w, s.prev)
	if err != nil {
		w.Abort()
		return Entry{}, pack.Stats{}, err
	}
	ref, stats, err := w.Close(ctx)
	if err != nil {
		return Entry{}, pack.Stats{}, err
	}
	if s.last, err = pack.LoadIndex(ctx, "c", s.keys, s, ref); err != nil {
		return Entry{}, pack.Stats{}, err
	}
	s.prev = &Previous{Entry: e, Reader: s.reader()}
	return e, stats, nil
}

func (s *shelf) backup(t testing.TB, src Source) (Entry, pack.Stats) {
	t.Helper()
	e, stats, err := s.tryBackup(t.Context(), src)
	if err != nil {
		t.Fatalf("back up: %v", err)
	}
	return e, stats
}

// reader reads the last backup.
func (s *shelf) reader() *pack.Reader { return pack.NewReader("c", s.keys, s.last, s) }

func (s *shelf) stage(t testing.TB, src Source, e Entry) {
	t.Helper()
	if err := src.Stage(t.Context(), s.reader(), e); err != nil {
		t.Fatal(err)
	}
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stopAfter makes a fault that stops a swap after its n-th step, and a
// function that tells whether it did.
func stopAfter(n int) (fault func(string) error, stopped func() bool) {
	steps := 0
	return func(step string) error {
		if steps++; steps == n {
			return fmt.Errorf("stopped after step %d, %q", n, step)
		}
		return nil
	}, func() bool { return steps >= n }
}

// mustFail fails the test unless err holds every one of the texts.
func mustFail(t testing.TB, err error, texts ...string) {
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

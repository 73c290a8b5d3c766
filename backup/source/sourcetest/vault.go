package sourcetest

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
)

// Vault keeps the packs of one cluster in memory and makes backups of one
// source in a chain, as package backup does.
type Vault struct {
	Keys  seal.DataKeys
	Prev  *source.Previous
	Index *pack.Index

	mu    sync.Mutex
	Packs map[pack.Digest][]byte
}

// NewVault is empty.
func NewVault(t testing.TB) *Vault { return newVault(t, 1) }

// NewOtherVault is empty, and its keys are not those of NewVault.
func NewOtherVault(t testing.TB) *Vault { return newVault(t, 2) }

func newVault(t testing.TB, seed byte) *Vault {
	t.Helper()
	keys, err := seal.NewDataKeys(rand.NewChaCha8([32]byte{seed}))
	Must(t, err)
	return &Vault{Keys: keys, Packs: map[pack.Digest][]byte{}}
}

// Put stores a pack.
func (v *Vault) Put(_ context.Context, info pack.Info, data []byte) (time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.Packs[info.Digest] = bytes.Clone(data)
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), nil
}

// ReadPack implements pack.Packs.
func (v *Vault) ReadPack(_ context.Context, d pack.Digest, off int64, buf []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	data, ok := v.Packs[d]
	if !ok {
		return fs.ErrNotExist
	}
	if off > int64(len(data)) || copy(buf, data[off:]) < len(buf) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// TestCluster is the cluster of all vaults.
const TestCluster = "source-test"

// TryBackup dumps src on top of the last backup.
func (v *Vault) TryBackup(ctx context.Context, src source.Source) (source.Entry, pack.Stats, error) {
	w, err := pack.NewWriter(ctx, pack.WriterConfig{Cluster: TestCluster, Keys: v.Keys, Known: v.Index, Put: v.Put})
	if err != nil {
		return source.Entry{}, pack.Stats{}, err
	}
	e, err := src.Dump(ctx, w, v.Prev)
	if err != nil {
		w.Abort()
		return e, pack.Stats{}, err
	}
	ref, stats, err := w.Close(ctx)
	if err != nil {
		return source.Entry{}, pack.Stats{}, err
	}
	if v.Index, err = pack.LoadIndex(ctx, TestCluster, v.Keys, v, ref); err != nil {
		return source.Entry{}, pack.Stats{}, err
	}
	v.Prev = &source.Previous{Entry: e, Reader: v.Reader()}
	return e, stats, nil
}

// Backup is TryBackup, which must succeed.
func (v *Vault) Backup(t testing.TB, src source.Source) (source.Entry, pack.Stats) {
	t.Helper()
	e, stats, err := v.TryBackup(t.Context(), src)
	if err != nil {
		t.Fatalf("back up: %v", err)
	}
	return e, stats
}

// Reader reads the last backup.
func (v *Vault) Reader() *pack.Reader { return pack.NewReader(TestCluster, v.Keys, v.Index, v) }

// Stage stages an entry of the last backup.
func (v *Vault) Stage(t testing.TB, src source.Source, e source.Entry) {
	t.Helper()
	Must(t, src.Stage(t.Context(), v.Reader(), e))
}

// Side backs a source up, and gives that as one side of a comparison.
func (v *Vault) Side(t testing.TB, src source.Source) source.Side {
	t.Helper()
	e, _ := v.Backup(t, src)
	return source.Side{Entry: e, Reader: v.Reader()}
}

// LastSide is the last backup.
func (v *Vault) LastSide() source.Side {
	return source.Side{Entry: v.Prev.Entry, Reader: v.Prev.Reader}
}

// Stillness is a clock that stands well after anything a test does, so that
// no file counts as changed while a backup was being made.
func Stillness() time.Time { return time.Now().Add(time.Hour) }

// Placed is where a path leads, held until the test's end.
func Placed(t testing.TB, path string) fsx.Place {
	t.Helper()
	p, err := fsx.Resolve(path)
	Must(t, err)
	t.Cleanup(p.Close)
	return p
}

// Held is a folder that is held until the test's end.
func Held(t testing.TB, path string) *fsx.Dir {
	t.Helper()
	d, err := fsx.Open(path)
	Must(t, err)
	t.Cleanup(d.Close)
	return d
}

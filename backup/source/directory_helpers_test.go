package source

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal"
)

// vault keeps the packs of one cluster in memory and makes backups of one
// source in a chain, as package backup does.
type vault struct {
	t     testing.TB
	keys  seal.DataKeys
	mu    sync.Mutex
	packs map[pack.Digest][]byte
	prev  *Previous
	index *pack.Index
}

func newVault(t testing.TB) *vault {
	t.Helper()
	keys, err := seal.NewDataKeys(rand.NewChaCha8([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	return &vault{t: t, keys: keys, packs: map[pack.Digest][]byte{}}
}

func (v *vault) put(_ context.Context, info pack.Info, data []byte) (time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.packs[info.Digest] = bytes.Clone(data)
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), nil
}

// ReadPack implements pack.Packs.
func (v *vault) ReadPack(_ context.Context, d pack.Digest, off int64, buf []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	data, ok := v.packs[d]
	if !ok {
		return fs.ErrNotExist
	}
	if off > int64(len(data)) || copy(buf, data[off:]) < len(buf) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

const testCluster = "source-test"

// backup dumps src on top of the last backup.
func (v *vault) backup(src Source) (Entry, pack.Stats, error) {
	v.t.Helper()
	ctx := v.t.Context()
	w, err := pack.NewWriter(ctx, pack.WriterConfig{Cluster: testCluster, Keys: v.keys, Known: v.index, Put: v.put})
	if err != nil {
		v.t.Fatal(err)
	}
	e, err := src.Dump(ctx, w, v.prev)
	if err != nil {
		w.Abort()
		return e, pack.Stats{}, err
	}
	ref, stats, err := w.Close(ctx)
	if err != nil {
		v.t.Fatal(err)
	}
	if v.index, err = pack.LoadIndex(ctx, testCluster, v.keys, v, ref); err != nil {
		v.t.Fatal(err)
	}
	v.prev = &Previous{Entry: e, Reader: pack.NewReader(testCluster, v.keys, v.index, v)}
	return e, stats, nil
}

func (v *vault) mustBackup(src Source) (Entry, pack.Stats) {
	v.t.Helper()
	e, stats, err := v.backup(src)
	if err != nil {
		v.t.Fatalf("backup: %v", err)
	}
	return e, stats
}

// last reads the last backup.
func (v *vault) last() *pack.Reader { return v.prev.Reader }

// stillness is a clock that stands well after anything a test does, so that
// no file counts as changed while a backup was being made.
func stillness() time.Time { return time.Now().Add(time.Hour) }

func newTestDirectory(t testing.TB, path string, exclude ...string) *Directory {
	t.Helper()
	d, err := NewDirectory("files", DirectoryConfig{Path: path, Exclude: exclude, Now: stillness})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// counted counts how often each file of a directory is opened to be read.
func counted(d *Directory) func() int {
	var mu sync.Mutex
	n := 0
	d.fault = func(step, path string) error {
		mu.Lock()
		defer mu.Unlock()
		if info, err := os.Lstat(filepath.Join(d.cfg.Path, path)); step == "open" && err == nil && info.Mode().IsRegular() {
			n++
		}
		return nil
	}
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		defer func() { n = 0 }()
		return n
	}
}

func factsOf(t testing.TB, e Entry) DirectoryFacts {
	t.Helper()
	var f DirectoryFacts
	if err := json.Unmarshal(e.Facts, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// do fails the test on an error.
func do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// paths lists the paths of a dumped tree.
func paths(t testing.TB, v *vault) []string {
	t.Helper()
	var all []string
	for n, err := range tree(t.Context(), v.last(), v.prev.Entry.Root) {
		do(t, err)
		all = append(all, fmt.Sprintf("%c %s", n.Type, n.Path))
	}
	return all
}

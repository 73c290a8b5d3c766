package source

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
)

// slowDatabases is a slowStore for databases alone.
type slowDatabases struct {
	*slowStore
	others nullWriter
}

func (s slowDatabases) Write(ctx context.Context, r io.Reader, p pack.Profile) (pack.Stream, error) {
	if p == pack.Database {
		return s.slowStore.Write(ctx, r, p)
	}
	return s.others.Write(ctx, r, p)
}

// Nor does it where the database lies in a directory.
func TestASlowStoreDoesNotHoldTheWALOfADatabaseInADirectory(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	path, _, store := newSlowBank(t)
	d := newTestDirectory(t, filepath.Dir(path))
	d.storing = func(one *storing) { one.walGrowth, one.walEvery = 64<<10, time.Millisecond }
	d.cfg.Scratch = t.TempDir()
	e, err := d.dump(ctx, slowDatabases{slowStore: store}, nil, nil)
	must(t, err)
	to := filepath.Join(t.TempDir(), "stored.db")
	must(t, os.WriteFile(to, store.got.Bytes(), 0o600))
	if n := checkBank(t, to); n != 1001 || factsOf(t, e).Databases != 1 {
		t.Errorf("%d transfers are stored: %s", n, e.Facts)
	}
	if left, _ := os.ReadDir(d.cfg.Scratch); len(left) > 0 {
		t.Errorf("left in the scratch folder: %v", left)
	}
}

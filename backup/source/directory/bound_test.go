package directory

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
	"github.com/understudy-ha/understudy/backup/source/sqlite"
)

// slowDatabases is a slowStore for databases alone.
type slowDatabases struct {
	*sourcetest.SlowStore
	others sourcetest.NullWriter
}

func (s slowDatabases) Write(ctx context.Context, r io.Reader, p pack.Profile) (pack.Stream, error) {
	if p == pack.Database {
		return s.SlowStore.Write(ctx, r, p)
	}
	return s.others.Write(ctx, r, p)
}

// Nor does it where the database lies in a directory.
func TestASlowStoreDoesNotHoldTheWALOfADatabaseInADirectory(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	path, _, store := sourcetest.NewSlowBank(t)
	d := newTestDirectory(t, filepath.Dir(path))
	d.storing = func(one *sqlite.Storing) { one.WalGrowth, one.WalEvery = 64<<10, time.Millisecond }
	d.cfg.Scratch = t.TempDir()
	e, err := d.dump(ctx, slowDatabases{SlowStore: store}, nil, nil)
	sourcetest.Must(t, err)
	to := filepath.Join(t.TempDir(), "stored.db")
	sourcetest.Must(t, os.WriteFile(to, store.Got.Bytes(), 0o600))
	if n := sourcetest.CheckBank(t, to); n != 1001 || factsOf(t, e).Databases != 1 {
		t.Errorf("%d transfers are stored: %s", n, e.Facts)
	}
	if left, _ := os.ReadDir(d.cfg.Scratch); len(left) > 0 {
		t.Errorf("left in the scratch folder: %v", left)
	}
}

package directory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/source/sourcetest"
)

// countingPacks counts what is read of packs.
type countingPacks struct {
	*sourcetest.Vault
	bytes atomic.Int64
}

func (c *countingPacks) ReadPack(ctx context.Context, d pack.Digest, off int64, buf []byte) error {
	c.bytes.Add(int64(len(buf)))
	return c.Vault.ReadPack(ctx, d, off, buf)
}

// TestARestoreReadsPacksOnce: large files of which some are quickly written and some
// slowly, with small ones among them, lie in packs in such an order that little is read
// twice, though only a part of it is kept in memory.
func TestARestoreReadsPacksOnce(t *testing.T) {
	folder := t.TempDir()
	live := filepath.Join(folder, "live")
	sourcetest.WriteTree(t, live, 1, sourcetest.TreeSize{Files: 1200, Bytes: 12 << 20})
	line := strings.Repeat("a line of a log that is easily compressed ", 25)
	for i := range 6 {
		random := rand.NewChaCha8([32]byte{byte(i)})
		content := make([]byte, 12<<20)
		if _, err := random.Read(content); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 { // a quarter of it is noise
			for at := 0; at < len(content); at += 1 << 10 {
				copy(content[at+256:at+1<<10], line)
			}
		}
		sourcetest.Must(t, os.WriteFile(filepath.Join(live, fmt.Sprintf("d%02d", i), "large"), content, 0o600))
	}
	d, v := newTestDirectory(t, live), sourcetest.NewVault(t)
	e, stats := v.Backup(t, d)
	packs := &countingPacks{Vault: v}
	sourcetest.Must(t, d.Stage(t.Context(), pack.NewReader(sourcetest.TestCluster, v.Keys, v.Index, packs), e))
	sourcetest.CompareTrees(t, live, d.Staged(), nil)
	if read := packs.bytes.Load(); read > stats.Stored*5/4 {
		t.Errorf("%d bytes were read to restore %d", read, stats.Stored)
	} else {
		t.Logf("read %d of %d", read, stats.Stored)
	}
}

package agent

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/shared"
)

// A bucket says how it locks only once it was asked: parts are locked from then on.
func TestPartsAreLockedOnceItIsKnownHow(t *testing.T) {
	dir, err := datadir.Lock(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	random, mode := rand.NewChaCha8([32]byte{1}), blobstore.NoLock
	s := &streams{
		cfg:     stream.Config{Store: storetest.NewMemory(), Ring: sealtest.NewRing(t, random), Cluster: "c", Random: random, Now: time.Now},
		configs: shared.NewConfigs(nil, dir), lock: func() blobstore.LockMode { return mode },
	}
	open := func() *stream.Chain {
		t.Helper()
		chain, err := s.open()
		if err != nil {
			t.Fatal(err)
		}
		return chain
	}
	before := open()
	if open() != before {
		t.Error("it is opened anew though nothing has changed")
	}
	if mode = blobstore.Compliance; open() == before {
		t.Error("it goes on without locks")
	}
}

package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

func TestLimitedStoreConforms(t *testing.T) {
	storetest.Run(t, func(*testing.T) blobstore.Store { return limit(storetest.NewMemory(), 1<<30, 1<<30) })
}

func TestLimitSlowsPacksAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mib = 1 << 20
		s := limit(storetest.NewMemory(), mib, mib/2)
		took := func(do func(ctx context.Context) error) time.Duration {
			start := time.Now()
			if err := do(t.Context()); err != nil {
				t.Fatal(err)
			}
			return time.Since(start).Round(time.Second)
		}
		put := func(key string) time.Duration {
			return took(func(ctx context.Context) error {
				_, err := s.Put(ctx, key, make([]byte, 10*mib), blobstore.Always)
				return err
			})
		}
		get := func(key string) time.Duration {
			return took(func(ctx context.Context) error {
				_, _, err := blobstore.ReadAll(ctx, s, key, 10*mib)
				return err
			})
		}
		if d := put("packs/aa/x"); d != 10*time.Second {
			t.Errorf("writing 10 MiB at 1 MiB/s took %v", d)
		}
		if d := get("packs/aa/x"); d != 20*time.Second {
			t.Errorf("reading 10 MiB at 512 KiB/s took %v", d)
		}
		if up, down := put("head.json"), get("head.json"); up != 0 || down != 0 {
			t.Errorf("a control object waited %v and %v", up, down)
		}
	})
}

func TestLimitedWriteThatIsCancelledWritesNothing(t *testing.T) {
	s := limit(storetest.NewMemory(), 1, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, "packs/aa/x", make([]byte, limitPiece+1), blobstore.Always); err == nil {
		t.Fatal("it was written")
	}
	if _, err := s.Stat(t.Context(), "packs/aa/x"); err == nil {
		t.Error("it is there")
	}
}

package blobstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

const mib = 1 << 20

// packs is a limit like the program's own.
func packs(upload, download int64) blobstore.Store {
	return blobstore.Limit(storetest.NewMemory(), blobstore.LimitOptions{Prefix: "packs/", Upload: upload, Download: download})
}

func TestLimitedStoreConforms(t *testing.T) {
	storetest.Run(t, func(*testing.T) blobstore.Store {
		return blobstore.Limit(storetest.NewMemory(), blobstore.LimitOptions{Upload: 1 << 40, Download: 1 << 40})
	})
}

func TestAStoreWithoutLimitsIsLeftAlone(t *testing.T) {
	memory := storetest.NewMemory()
	if s := blobstore.Limit(memory, blobstore.LimitOptions{Prefix: "packs/"}); s != blobstore.Store(memory) {
		t.Errorf("it became %T", s)
	}
}

// timed says how long something takes, in whole seconds.
func timed(t *testing.T, do func() error) time.Duration {
	t.Helper()
	start := time.Now()
	if err := do(); err != nil {
		t.Error(err)
	}
	return time.Since(start).Round(time.Second)
}

func TestLimitsHoldForAllTransfersTogetherAndDelayNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := packs(mib, mib/2)
		put := func(key string, n int) error {
			_, err := s.Put(t.Context(), key, make([]byte, n), blobstore.Always)
			return err
		}
		get := func(key string) error {
			_, _, err := blobstore.ReadAll(t.Context(), s, key, 100*mib)
			return err
		}
		keys := []string{"packs/aa/1", "packs/bb/2", "packs/cc/3", "packs/dd/4"}
		all := func(do func(key string) error) func() error {
			return func() error {
				var wg sync.WaitGroup
				for _, key := range keys {
					wg.Go(func() {
						if err := do(key); err != nil {
							t.Error(err)
						}
					})
				}
				// In the midst of it, what decides over roles is not held up.
				<-time.After(time.Second)
				if d := timed(t, func() error { return errors.Join(put("head.json", 10*mib), get("head.json")) }); d != 0 {
					t.Errorf("a control object waited %v", d)
				}
				wg.Wait()
				return nil
			}
		}
		if d := timed(t, all(func(key string) error { return put(key, 5*mib) })); d != 20*time.Second {
			t.Errorf("writing 4 × 5 MiB at 1 MiB/s took %v", d)
		}
		if d := timed(t, all(get)); d != 40*time.Second {
			t.Errorf("reading 4 × 5 MiB at 512 KiB/s took %v", d)
		}
		if d := timed(t, func() error {
			body, _, err := s.Get(t.Context(), keys[0], blobstore.GetOptions{Offset: mib, Length: mib})
			if err != nil {
				return err
			}
			defer body.Close()
			for buffer := make([]byte, 4*mib); err == nil; {
				_, err = body.Read(buffer)
			}
			return nil
		}); d != 2*time.Second {
			t.Errorf("reading a part of 1 MiB at 512 KiB/s took %v", d)
		}
	})
}

func TestALimitInOneDirectionLeavesTheOtherFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			s        blobstore.Store
			put, get time.Duration
		}{
			"upload":   {packs(mib, 0), 8 * time.Second, 0},
			"download": {packs(0, mib), 0, 8 * time.Second},
		} {
			put := timed(t, func() error {
				_, err := tt.s.Put(t.Context(), "packs/aa/x", make([]byte, 8*mib), blobstore.Always)
				return err
			})
			get := timed(t, func() error {
				_, _, err := blobstore.ReadAll(t.Context(), tt.s, "packs/aa/x", 8*mib)
				return err
			})
			if put != tt.put || get != tt.get {
				t.Errorf("%s: put took %v, get %v", name, put, get)
			}
		}
	})
}

func TestLimitedWriteThatIsCancelledWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := packs(mib, 0)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := s.Put(ctx, "packs/aa/x", make([]byte, 10*mib), blobstore.Always)
		if !errors.Is(err, blobstore.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
		if _, err := s.Stat(t.Context(), "packs/aa/x"); !errors.Is(err, blobstore.ErrNotFound) {
			t.Errorf("it is there: %v", err)
		}
	})
}

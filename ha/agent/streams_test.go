package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
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

// synced is a source whose commits wait for the bucket, as an earlier process has left them.
type synced struct {
	*directory.Source
	waits *atomic.Bool
}

func (synced) OpenLog(context.Context, *stream.Position) (source.Log, error) {
	return nil, errors.New("it has none")
}
func (synced) Sync() (bool, time.Duration) { return true, 10 * time.Second }
func (s synced) Arm(context.Context) error { s.waits.Store(true); return nil }
func (s synced) Disarm(context.Context) (bool, error) {
	return s.waits.Swap(false), nil
}

// An agent that starts without its bucket ends the wait of commits that the one before had
// wait, where the fencing in its journal lets it.
func TestAnAgentThatStartsWithoutItsBucketEndsTheWaitOfCommits(t *testing.T) {
	for _, mode := range []string{"available", "strict"} {
		t.Run(mode, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *cluster) {
				var waits atomic.Bool
				a := c.host("a")
				a.change = func(cfg *Config) { cfg.Sources[0] = synced{cfg.Sources[0].(*directory.Source), &waits} }
				a.init()
				a.start()
				a.untilLeading()
				if err := a.agent.shared.SetConfig(t.Context(), map[string]string{"fencing": mode}); err != nil {
					t.Fatal(err)
				}
				a.halt()
				waits.Store(true)
				a.leave()
				a.start()
				told := func(s report.Status) bool {
					for _, p := range s.Problems {
						if strings.Contains(p, "commits of files do not wait for the bucket") {
							return true
						}
					}
					return false
				}
				if mode == "available" {
					a.until("commits do not wait, which is told", func(s report.Status) bool { return !waits.Load() && told(s) })
					return
				}
				s := a.until("without the bucket for the whole outage", func(s report.Status) bool { return s.BucketFailing >= outage.Seconds() })
				if !waits.Load() || told(s) {
					t.Errorf("commits wait: %v; %q", waits.Load(), s.Problems)
				}
			})
		})
	}
}

// keeping is a source whose server keeps log that is in no backup.
type keeping struct {
	*directory.Source
	unpacked *atomic.Int64
}

func (keeping) OpenLog(context.Context, *stream.Position) (source.Log, error) {
	return nil, errors.New("it has none")
}

func (k keeping) Kept(_ context.Context, newest *source.Entry) (source.Kept, error) {
	if newest == nil {
		return source.Kept{Unpacked: -1}, nil
	}
	return source.Kept{Unpacked: k.unpacked.Load()}, nil
}

func (k keeping) Dump(ctx context.Context, w *pack.Writer, prev *source.Previous) (source.Entry, error) {
	k.unpacked.Store(0)
	return k.Source.Dump(ctx, w, prev)
}

// A pause of the schedule does not keep log out of backups.
func TestLogIsPackedWhileTheScheduleIsPaused(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		var unpacked atomic.Int64
		a := c.host("a")
		a.change = func(cfg *Config) { cfg.Sources[0] = keeping{cfg.Sources[0].(*directory.Source), &unpacked} }
		a.init()
		a.start()
		a.untilLeading()
		a.rests()
		before, begun := a.backup(), time.Now()
		unpacked.Store(100 << 20)
		s := a.until("a backup", func(s report.Status) bool { return s.LastBackup.ID != before })
		if took := time.Since(begun); took < 5*time.Minute || took > 6*time.Minute || s.Paused == nil {
			t.Errorf("after %v, paused %+v", took, s.Paused)
		}
		if n := a.told(event.Info, "backup", "is published (100 MiB of log of files are in no backup)"); n != 1 {
			t.Errorf("it is told %d times why", n)
		}
	})
}

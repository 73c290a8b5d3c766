package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// deadDisk is a data folder whose journal cannot be written any more, until mend.
type deadDisk struct{ mend func() }

// disks are the ways in which one dies.
var disks = map[string]func(h *host) deadDisk{
	"it hangs": func(h *host) deadDisk {
		var dead atomic.Pointer[chan struct{}]
		h.change = func(cfg *Config) {
			cfg.Step = func(point string) {
				if held := dead.Load(); held != nil && strings.HasPrefix(point, "journal.") {
					<-*held
				}
			}
		}
		h.halt()
		h.start()
		h.untilLeading()
		held := make(chan struct{})
		dead.Store(&held)
		return deadDisk{mend: func() { dead.Store(nil); close(held) }}
	},
	"it fails": func(h *host) deadDisk {
		path := filepath.Join(h.data, datadir.JournalFile)
		if err := os.Rename(path, path+".aside"); err != nil {
			h.t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
			h.t.Fatal(err)
		}
		return deadDisk{mend: func() {
			if err := os.RemoveAll(path); err != nil {
				h.t.Error(err)
			}
		}}
	},
}

// TestADeadDiskHoldsUpNoStop has the disk of an active's data folder die: the
// application is stopped at its bound, a successor is told of, and everything goes
// on once the disk works.
func TestADeadDiskHoldsUpNoStop(t *testing.T) {
	for name, kill := range disks {
		t.Run(name, func(t *testing.T) {
			fencings(t, func(t *testing.T, mode string, _ *cluster, a, b, d *host) {
				dead := kill(a)
				since := time.Now()
				f := ha.DefaultConfig().Fencing
				if mode == "strict" {
					a.until("stopped", func(s report.Status) bool { return s.App == "stopped" })
					if took, bound := time.Since(since), time.Duration(f.TTL-f.Margin); took > bound || a.hooks.isRunning() {
						t.Errorf("the application was stopped after %v, want %v at most (running: %v)", took, bound, a.hooks.isRunning())
					}
				}
				s := a.until("it is told", func(s report.Status) bool {
					return slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "the data folder") })
				})
				if s.Healthy || s.Bucket != "ok" {
					t.Errorf("healthy %v, bucket %q: %q", s.Healthy, s.Bucket, s.Problems)
				}
				b.until("silent", func(s report.Status) bool { return !s.HeadAlive })
				b.promote(promotions.PromotionRequest{Mode: ha.ModeFailover})
				a.until("replaced, and stopped", func(s report.Status) bool { return s.Role == ha.RoleStandby && s.App == "stopped" })
				if a.hooks.isRunning() {
					t.Error("the application of the old active runs")
				}
				b.write("state", "two")
				id := b.backup()
				dead.mend()
				a.until("it is over", func(s report.Status) bool { return s.Demotion == nil && len(s.Cached) > 0 && s.Cached[0].ID == id })
				d.untilCached(id)
			})
		})
	}
}

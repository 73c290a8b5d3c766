package control

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
)

// pricing counts the requests that a store would get: a list is one for each thousand
// objects.
type pricing struct {
	blobstore.Store
	reads, lists atomic.Int64
}

func (p *pricing) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	p.reads.Add(1)
	return p.Store.Get(ctx, key, opt)
}

func (p *pricing) Stat(ctx context.Context, key string) (blobstore.Attrs, error) {
	p.reads.Add(1)
	return p.Store.Stat(ctx, key)
}

func (p *pricing) List(ctx context.Context, prefix, after string) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		n := 0
		for attrs, err := range p.Store.List(ctx, prefix, after) {
			if n%1000 == 0 {
				p.lists.Add(1)
			}
			if n++; !yield(attrs, err) {
				return
			}
		}
		if n == 0 {
			p.lists.Add(1)
		}
	}
}

// asked returns how many reads and lists there were since it was asked last.
func (p *pricing) asked() (reads, lists int64) { return p.reads.Swap(0), p.lists.Swap(0) }

// history is a cluster with many backups, one a minute, the last of them now.
type history struct {
	bucket *pricing
	ring   *seal.Ring
	oldest backup.Ref
}

func newHistory(tb testing.TB, backups int) *history {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	dir := filepath.Join(tb.TempDir(), "state")
	must(os.Mkdir(dir, 0o700))
	must(os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600))
	src, err := directory.New("files", directory.Config{Path: dir})
	must(err)
	h := &history{bucket: &pricing{Store: storetest.NewMemory()}, ring: newRing(tb)}
	s := made(tb, h.bucket, h.ring)
	head, err := s.Head(tb.Context())
	must(err)
	keys, err := seal.NewDataKeys(rand.Reader)
	must(err)
	o := backup.Order{Epoch: 1, Instance: "a", Version: "test", Trigger: backup.Scheduled, Sources: []source.Source{src}, Keys: keys}
	now := time.Now()
	for i := range backups {
		at := now.Add(time.Duration(i+1-backups) * time.Minute)
		o.Sequence, o.Now = uint64(i+1), func() time.Time { return at }
		o.StoreTime = time.Now
		ref, m, err := s.Repository().Write(tb.Context(), o)
		must(err)
		o.Previous, o.PreviousManifest = &ref, m
		if i == 0 {
			h.oldest = ref
		}
	}
	head.Newest = o.Previous
	put(tb, s, ha.KindHead, ha.HeadKey, head)
	h.bucket.asked()
	return h
}

// open reads the cluster as a process does that has just started.
func (h *history) open(ctx context.Context) (*Chain, error) {
	s, _, err := Open(ctx, Config{Store: h.bucket, Ring: h.ring})
	if err != nil {
		return nil, err
	}
	return s.Chain(), nil
}

// look is what people do with the backups of a cluster.
type look struct {
	name  string
	again bool // after it was done once before, as the console does it
	do    func(ctx context.Context, h *history, c *Chain) error
}

func list(ctx context.Context, _ *history, c *Chain) error {
	_, err := c.List(ctx, "", 0)
	return err
}

var looks = []look{
	{name: "list", do: list},
	{name: "listed-again", again: true, do: list},
	{name: "newest", do: func(ctx context.Context, _ *history, c *Chain) error {
		_, _, err := c.Find(ctx, "")
		return err
	}},
	{name: "oldest-opened", do: func(ctx context.Context, h *history, c *Chain) error {
		_, m, err := c.Find(ctx, h.oldest.ID)
		if err != nil {
			return err
		}
		_, _, err = c.known.repo.Open(ctx, m, c.known.repo.BucketPacks())
		return err
	}},
}

// spent is what a look takes.
type spent struct {
	reads, lists int64
	processor    time.Duration
}

// take does a look in a process that has just started, as it were.
func (h *history) take(tb testing.TB, l look) (s spent) {
	tb.Helper()
	c, err := h.open(tb.Context())
	if err == nil && l.again {
		err = l.do(tb.Context(), h, c)
	}
	h.bucket.asked()
	before := processorTime(tb)
	if err == nil {
		err = l.do(tb.Context(), h, c)
	}
	if err != nil {
		tb.Fatalf("%s: %v", l.name, err)
	}
	s.processor = processorTime(tb) - before
	s.reads, s.lists = h.bucket.asked()
	return s
}

// However many backups there are, what people do takes as many requests.
func TestRequestsDoNotGrowWithTheNumberOfBackups(t *testing.T) {
	few, many := newHistory(t, 300), newHistory(t, 3000)
	for _, l := range looks {
		x, y := few.take(t, l), many.take(t, l)
		if y.reads > x.reads || y.lists > x.lists+1 {
			t.Errorf("%s takes %d reads and %d lists of 3,000 backups, %d and %d of 300", l.name, y.reads, y.lists, x.reads, x.lists)
		}
	}
}

// BenchmarkGrowthOfBackups has ever more backups in the bucket, and reports the requests
// of what people do with them, and the processors' time. docs/growth.md shows the curves.
func BenchmarkGrowthOfBackups(b *testing.B) {
	for _, backups := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("backups=%d", backups), func(b *testing.B) {
			h := newHistory(b, backups)
			for b.Loop() {
				for _, l := range looks {
					s := h.take(b, l)
					b.ReportMetric(float64(s.processor.Microseconds())/1e3, l.name+"-ms")
					b.ReportMetric(float64(s.reads), l.name+"-GETs")
					b.ReportMetric(float64(s.lists), l.name+"-LISTs")
				}
			}
		})
	}
}

// processorTime is how long this process has had a processor.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What was made shortly before a backup is found by spans that double.
func TestTheNearestBackupsAreFound(t *testing.T) {
	h := newHistory(t, 3000) // more than two days
	c, err := h.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	head, err := c.store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := c.store.ListBackups(t.Context(), "", 0)
	if err != nil || len(all) != 3000 {
		t.Fatalf("%d, %v", len(all), err)
	}
	slices.Reverse(all)
	for _, test := range []struct{ from, most, want int }{{0, 1, 1}, {0, 200, 200}, {0, 2500, 2500}, {1000, 1600, 1600}, {2990, 100, 10}, {0, 5000, 3000}} {
		for _, keep := range []time.Duration{0, 14 * 24 * time.Hour} {
			near, err := c.walker(head, keep).nearest(t.Context(), all[test.from], test.most)
			if err != nil || !slices.Equal(near, all[test.from:test.from+test.want]) {
				t.Errorf("%+v: %d, %v", test, len(near), err)
			}
		}
	}
	near, err := c.walker(head, time.Hour).nearest(t.Context(), all[0], 200)
	if err != nil || len(near) < 55 || len(near) > 61 {
		t.Errorf("of the last hour: %d, %v", len(near), err)
	}
}

package conformance_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/conformance"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

func safety(t *testing.T, s blobstore.Store) conformance.Report {
	t.Helper()
	report, err := conformance.Safety(t.Context(), conformance.Config{Store: s, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func full(t *testing.T, s blobstore.Store, now func() time.Time) conformance.Report {
	t.Helper()
	report, err := conformance.Full(t.Context(), conformance.Config{Store: s, Random: rand.Reader, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// outcomes are the names of the checks that did not go well, with how.
func outcomes(r conformance.Report) map[string]conformance.Outcome {
	found := map[string]conformance.Outcome{}
	for _, c := range r {
		if c.Outcome != conformance.OK {
			found[c.Name] = c.Outcome
		}
	}
	return found
}

func get(t *testing.T, r conformance.Report, name string) conformance.Check {
	t.Helper()
	i := slices.IndexFunc(r, func(c conformance.Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check %s in %+v", name, r)
	}
	return r[i]
}

func TestAGoodStoreIsSafeAndLeftClean(t *testing.T) {
	memory := storetest.NewMemory()
	for name, report := range map[string]conformance.Report{"safety": safety(t, memory), "full": full(t, memory, time.Now)} {
		if err := report.Err(); err != nil || len(outcomes(report)) > 0 {
			t.Errorf("%s: %v: %v", name, err, outcomes(report))
		}
		for _, c := range report {
			if c.Name == "" || c.Promise == "" || c.Detail == "" {
				t.Errorf("%s says too little: %+v", name, c)
			}
		}
	}
	if left := memory.Keys(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSafetyAsksLittle(t *testing.T) {
	store := storetest.NewFaulty(storetest.NewMemory())
	safety(t, store)
	if n := len(store.Calls()); n > 85 {
		t.Errorf("%d requests", n)
	}
}

// liar is a store that breaks promises.
type liar struct {
	*storetest.Memory
	condition func(cond blobstore.Condition) blobstore.Condition
	token     func(blobstore.Attrs) blobstore.Attrs
	stale     bool   // reads give the first version that was read
	misses    bool   // reads give that nothing was there, if that was so once
	lists     string // "late": no list shows what is new; "dead": each shows what has been
	zero      bool   // writes do not tell the time

	mu   sync.Mutex
	seen map[string]reading
	had  map[string]blobstore.Attrs
}

type reading struct {
	body  []byte
	attrs blobstore.Attrs
	err   error
}

func lying(l *liar) *liar {
	l.Memory, l.seen, l.had = storetest.NewMemory(), map[string]reading{}, map[string]blobstore.Attrs{}
	return l
}

func (l *liar) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if l.condition != nil {
		cond = l.condition(cond)
	}
	attrs, err := l.Memory.Put(ctx, key, body, cond)
	if l.token != nil {
		attrs = l.token(attrs)
	}
	if l.zero {
		attrs.Time = time.Time{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.had[key] = attrs
	}
	return attrs, err
}

func (l *liar) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	if !l.stale && !l.misses {
		return l.Memory.Get(ctx, key, opt)
	}
	l.mu.Lock()
	r, cached := l.seen[key]
	l.mu.Unlock()
	if !cached || l.misses && r.err == nil || l.stale && r.err != nil {
		r.body, r.attrs, r.err = blobstore.ReadAll(ctx, l.Memory, key, 16<<20)
		l.mu.Lock()
		l.seen[key] = r
		l.mu.Unlock()
	}
	if r.err != nil {
		return nil, r.attrs, r.err
	}
	return io.NopCloser(bytes.NewReader(r.body)), r.attrs, nil
}

func (l *liar) List(ctx context.Context, prefix, after string) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		switch l.lists {
		case "late":
		case "dead":
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, attrs := range l.had {
				if !yield(attrs, nil) {
					return
				}
			}
		default:
			l.Memory.List(ctx, prefix, after)(yield)
		}
	}
}

func TestStoresThatLieAreFoundOut(t *testing.T) {
	ignore := func(which func(blobstore.Condition) bool) func(blobstore.Condition) blobstore.Condition {
		return func(cond blobstore.Condition) blobstore.Condition {
			if which(cond) {
				return blobstore.Always
			}
			return cond
		}
	}
	for name, tt := range map[string]struct {
		store  blobstore.Store
		breaks []string
		says   string
	}{
		"ignores create-if-absent": {
			lying(&liar{condition: ignore(blobstore.Condition.Absent)}),
			[]string{"create-if-absent", "create-if-absent-contended"}, "If-None-Match: * (create-if-absent)",
		},
		"ignores compare-and-swap": {
			lying(&liar{condition: ignore(func(c blobstore.Condition) bool { return c.Match() != "" })}),
			[]string{"compare-and-swap", "compare-and-swap-contended"}, "If-Match (compare-and-swap)",
		},
		"ignores all conditions": {
			lying(&liar{condition: ignore(blobstore.Condition.Conditional)}),
			[]string{"create-if-absent", "create-if-absent-contended", "compare-and-swap", "compare-and-swap-contended"}, "could both become the active",
		},
		"creates in two steps": {newTwoSteps(), []string{"create-if-absent-contended"}, "writers at the same time were told that they won"},
		"repeats tokens": {
			lying(&liar{token: func(a blobstore.Attrs) blobstore.Attrs { a.Token = "same"; return a }}),
			[]string{"tokens"}, "the same token",
		},
		"serves stale reads":   {lying(&liar{stale: true}), []string{"read-after-overwrite"}, "what was there before"},
		"remembers a miss":     {lying(&liar{misses: true}), []string{"read-after-write"}, "missing right after it was written"},
		"lists late":           {lying(&liar{lists: "late"}), []string{"list-after-write", "list-after-delete"}, "does not show"},
		"lists what is gone":   {lying(&liar{lists: "dead"}), []string{"list-after-delete"}, "still shows"},
		"keeps delete markers": {&markers{Memory: storetest.NewMemory()}, []string{"create-after-delete"}, "keeps versions"},
	} {
		t.Run(name, func(t *testing.T) {
			report := safety(t, tt.store)
			for _, promise := range tt.breaks {
				c := get(t, report, promise)
				if c.Outcome != conformance.Failed || !errors.Is(c.Err, conformance.ErrUnsafe) {
					t.Errorf("%s: %+v", promise, c)
				}
			}
			if err := report.Err(); !errors.Is(err, conformance.ErrUnsafe) || !strings.Contains(err.Error(), tt.breaks[0]) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v", err)
			}
			if broken := report.Broken(); !slices.Contains(broken, tt.breaks[0]) {
				t.Errorf("broken: %v", broken)
			}
		})
	}
}

// twoSteps creates an object by looking and then writing.
type twoSteps struct {
	*storetest.Memory
	looked sync.WaitGroup // two writers
	mu     sync.Mutex
	looks  int
}

func (s *twoSteps) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	if strings.HasSuffix(key, "/create-contended") {
		s.mu.Lock()
		s.looks++
		first := s.looks <= 2
		s.mu.Unlock()
		if first {
			s.looked.Done()
			s.looked.Wait()
			cond = blobstore.Always
		}
	}
	return s.Memory.Put(ctx, key, body, cond)
}

func newTwoSteps() *twoSteps {
	s := &twoSteps{Memory: storetest.NewMemory()}
	s.looked.Add(2)
	return s
}

// markers takes a deleted object for one that is there.
type markers struct {
	*storetest.Memory
	mu      sync.Mutex
	deleted map[string]bool
}

func (s *markers) Delete(ctx context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deleted == nil {
		s.deleted = map[string]bool{}
	}
	s.deleted[key] = true
	return s.Memory.Delete(ctx, key)
}

func (s *markers) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	s.mu.Lock()
	marked := s.deleted[key]
	s.mu.Unlock()
	if marked && cond.Absent() {
		return blobstore.Attrs{}, &blobstore.Error{Op: "put", Key: key, Kind: blobstore.ErrPrecondition}
	}
	return s.Memory.Put(ctx, key, body, cond)
}

func TestAStoreThatDoesNotAnswerIsNotCalledUnsafe(t *testing.T) {
	for name, kind := range map[string]error{"denied": blobstore.ErrDenied, "invalid": blobstore.ErrInvalid} {
		store := storetest.NewFaulty(storetest.NewMemory())
		store.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(kind)})
		err := safety(t, store).Err()
		if !errors.Is(err, kind) || errors.Is(err, conformance.ErrUnsafe) {
			t.Errorf("%s: %v", name, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewFaulty(storetest.NewMemory())
		store.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrUnavailable)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		report, err := conformance.Safety(ctx, conformance.Config{Store: store, Random: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		if err := report.Err(); !errors.Is(err, blobstore.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, conformance.ErrUnsafe) {
			t.Errorf("unavailable: %v", err)
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

func TestWritesOfUnknownOutcomeAreSettled(t *testing.T) {
	for name, do := range map[string]storetest.Action{
		"landed":     storetest.LoseAnswer(),
		"not landed": storetest.Fail(blobstore.ErrUnknownOutcome),
		"throttled":  storetest.Fail(blobstore.ErrUnavailable),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := storetest.NewFaulty(storetest.NewMemory())
				store.Inject(storetest.Fault{Op: storetest.Conditional, After: 5, Times: 5, Do: do})
				if report := safety(t, store); report.Err() != nil {
					t.Error(report.Err())
				}
			})
		})
	}
}

func TestEachPermissionIsNamedWithWhatBreaks(t *testing.T) {
	for op, tt := range map[storetest.Op]struct {
		check   string
		outcome conformance.Outcome
		says    string
	}{
		storetest.Put:    {"permission-put", conformance.Failed, "s3:PutObject"},
		storetest.Get:    {"permission-get", conformance.Failed, "s3:GetObject"},
		storetest.Stat:   {"permission-stat", conformance.Failed, "attributes"},
		storetest.List:   {"permission-list", conformance.Failed, "s3:ListBucket"},
		storetest.Delete: {"permission-delete", conformance.Warning, "s3:DeleteObject"},
	} {
		t.Run(string(op), func(t *testing.T) {
			store := storetest.NewFaulty(storetest.NewMemory())
			store.Inject(storetest.Fault{Op: op, Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrDenied)})
			report := full(t, store, time.Now)
			if c := get(t, report, tt.check); c.Outcome != tt.outcome || !strings.Contains(c.Detail, tt.says) {
				t.Errorf("%+v", c)
			}
			for _, c := range report {
				if strings.HasPrefix(c.Name, "permission-") && c.Name != tt.check && c.Outcome == conformance.Warning {
					t.Errorf("%+v", c)
				}
			}
			if unsafe := report.Broken(); len(unsafe) > 0 {
				t.Errorf("called unsafe: %v", unsafe)
			}
			if want := tt.outcome == conformance.Failed; (report.Err() != nil) != want {
				t.Errorf("error %v", report.Err())
			}
		})
	}
}

func TestAnExaminationCleansUpWhatEverHappens(t *testing.T) {
	t.Run("interrupted", func(t *testing.T) {
		memory := storetest.NewMemory()
		store := storetest.NewFaulty(memory)
		ctx, cancel := context.WithCancel(t.Context())
		store.Inject(storetest.Fault{Op: storetest.Conditional, After: 9, Do: storetest.Then(func(error) { cancel() })})
		report, err := conformance.Full(ctx, conformance.Config{Store: store, Random: rand.Reader, Now: time.Now})
		if err != nil || report.Err() == nil {
			t.Errorf("was not interrupted: %v", err)
		}
		if left := memory.Keys(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	t.Run("killed", func(t *testing.T) {
		now := time.Now().Add(-2 * time.Hour)
		memory := storetest.NewMemory()
		memory.Now = func() time.Time { return now }
		for _, key := range []string{conformance.Prefix + "dead/created", "packs/aa/old"} {
			if _, err := memory.Put(t.Context(), key, []byte("x"), blobstore.Always); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(2 * time.Hour)
		if _, err := memory.Put(t.Context(), conformance.Prefix+"alive/created", []byte("x"), blobstore.Always); err != nil {
			t.Fatal(err)
		}
		if err := full(t, memory, time.Now).Err(); err != nil {
			t.Error(err)
		}
		if left := memory.Keys(); !slices.Equal(left, []string{"packs/aa/old", conformance.Prefix + "alive/created"}) {
			t.Errorf("left: %v", left)
		}
	})
}

func TestClockAndTimesAreJudged(t *testing.T) {
	for name, tt := range map[string]struct {
		skew    time.Duration
		outcome conformance.Outcome
	}{
		"agree":   {0, conformance.OK},
		"seconds": {20 * time.Second, conformance.OK},
		"behind":  {-time.Minute, conformance.Warning},
		"far":     {10 * time.Minute, conformance.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			memory := storetest.NewMemory()
			memory.Now = func() time.Time { return time.Now().Add(tt.skew) }
			report := full(t, memory, time.Now)
			c := get(t, report, "clock")
			if c.Outcome != tt.outcome || len(report.Broken()) > 0 {
				t.Errorf("%+v", c)
			}
			if got := time.Duration(c.Values["skew_seconds"] * float64(time.Second)); (got - tt.skew).Abs() > time.Second {
				t.Errorf("skew %v, want %v", got, tt.skew)
			}
		})
	}
	report := full(t, lying(&liar{zero: true}), time.Now)
	if c := get(t, report, "time"); !errors.Is(c.Err, conformance.ErrUnsafe) {
		t.Errorf("a store that does not tell the time: %+v", c)
	}
}

// far answers after a while, and moves so many bytes a second.
type far struct {
	*storetest.Memory
	latency time.Duration
	rate    int
}

func (f far) wait(n int) {
	<-time.After(f.latency + time.Duration(n)*time.Second/time.Duration(f.rate))
}

func (f far) Put(ctx context.Context, key string, body []byte, cond blobstore.Condition) (blobstore.Attrs, error) {
	f.wait(len(body))
	return f.Memory.Put(ctx, key, body, cond)
}

func (f far) Get(ctx context.Context, key string, opt blobstore.GetOptions) (io.ReadCloser, blobstore.Attrs, error) {
	body, attrs, err := f.Memory.Get(ctx, key, opt)
	f.wait(int(attrs.Size))
	return body, attrs, err
}

func TestSpeedIsMeasuredInBoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			store   far
			latency conformance.Outcome
			within  time.Duration
		}{
			"near": {far{latency: 20 * time.Millisecond, rate: 10 << 20}, conformance.OK, 10 * time.Second},
			"slow": {far{latency: 3 * time.Second, rate: 100 << 10}, conformance.Warning, 3 * time.Minute},
		} {
			tt.store.Memory = storetest.NewMemory()
			began := time.Now()
			report := full(t, tt.store, time.Now)
			if took := time.Since(began); took > tt.within {
				t.Errorf("%s: took %v", name, took)
			}
			c := get(t, report, "latency")
			if got := c.Values["put_median_seconds"]; c.Outcome != tt.latency || got < tt.store.latency.Seconds() || got > tt.store.latency.Seconds()+0.1 {
				t.Errorf("%s: %+v", name, c)
			}
			up := get(t, report, "throughput").Values["up_bytes_per_second"]
			if up < 0.3*float64(tt.store.rate) || up > 1.01*float64(tt.store.rate) {
				t.Errorf("%s: up %v of %v", name, up, tt.store.rate)
			}
		}
	})
}

package blobstore_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

func TestRetryConforms(t *testing.T) {
	storetest.Run(t, func(*testing.T) blobstore.Store {
		return blobstore.Retry(storetest.NewMemory(), blobstore.RetryOptions{})
	})
}

// everyOp does each operation once, on keys below "k".
var everyOp = []struct {
	name string
	op   storetest.Op
	do   func(context.Context, blobstore.Store) error
}{
	{"get", storetest.Get, func(ctx context.Context, s blobstore.Store) error {
		_, _, err := blobstore.ReadAll(ctx, s, "k/there", 100)
		return err
	}},
	{"stat", storetest.Stat, func(ctx context.Context, s blobstore.Store) error {
		_, err := s.Stat(ctx, "k/there")
		return err
	}},
	{"put", storetest.Put, func(ctx context.Context, s blobstore.Store) error {
		_, err := s.Put(ctx, "k/new", []byte("x"), blobstore.Always)
		return err
	}},
	{"list", storetest.List, func(ctx context.Context, s blobstore.Store) error {
		for _, err := range s.List(ctx, "k/", "") {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"delete", storetest.Delete, func(ctx context.Context, s blobstore.Store) error { return s.Delete(ctx, "k/there") }},
}

func newFaulty(t *testing.T) *storetest.Faulty {
	t.Helper()
	f := storetest.NewFaulty(storetest.NewMemory())
	if _, err := f.Put(t.Context(), "k/there", []byte("x"), blobstore.Always); err != nil {
		t.Fatal(err)
	}
	f.Calls()
	return f
}

func TestRetryOutlastsAnOutage(t *testing.T) {
	for _, test := range everyOp {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFaulty(t)
				var pauses []time.Duration
				s := blobstore.Retry(f, blobstore.RetryOptions{Notify: func(err error, pause time.Duration) {
					if !errors.Is(err, blobstore.ErrUnavailable) {
						t.Errorf("notified of %v", err)
					}
					pauses = append(pauses, pause)
				}})
				f.Inject(storetest.Fault{Op: test.op, Times: 4, Do: storetest.Fail(blobstore.ErrUnavailable)})
				if err := test.do(t.Context(), s); err != nil {
					t.Errorf("error %v after the outage", err)
				}
				if got := f.Count(test.op); got != 5 || len(pauses) != 4 {
					t.Errorf("%d attempts and %d pauses, want 5 and 4", got, len(pauses))
				}
			})
		})
	}
}

func TestRetryKeepsItsBudget(t *testing.T) {
	for _, test := range everyOp {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFaulty(t)
				s := blobstore.Retry(f, blobstore.RetryOptions{Budget: 10 * time.Second})
				f.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrUnavailable)})
				start := time.Now()
				err := test.do(t.Context(), s)
				var known *blobstore.Error
				if !errors.Is(err, blobstore.ErrUnavailable) || !errors.As(err, &known) {
					t.Errorf("error %v, want unavailable", err)
				}
				if took := time.Since(start); took > 10*time.Second || took < time.Second {
					t.Errorf("gave up after %s, want nearly the budget of 10s", took)
				}
			})
		})
	}
}

func TestRetryLeavesFinalAnswersAlone(t *testing.T) {
	kinds := []error{blobstore.ErrNotFound, blobstore.ErrPrecondition, blobstore.ErrNotModified,
		blobstore.ErrDenied, blobstore.ErrInvalid, blobstore.ErrUnknownOutcome}
	for _, test := range everyOp {
		for _, kind := range kinds {
			t.Run(fmt.Sprintf("%s/%v", test.name, kind), func(t *testing.T) {
				f := newFaulty(t)
				f.Inject(storetest.Fault{Do: storetest.Fail(kind)})
				if err := test.do(t.Context(), blobstore.Retry(f, blobstore.RetryOptions{})); !errors.Is(err, kind) {
					t.Errorf("error %v, want %v", err, kind)
				}
				if got := f.Count(storetest.Any); got != 1 {
					t.Errorf("%d attempts, want 1", got)
				}
			})
		}
	}
}

func TestRetryNeverRepeatsAConditionalPut(t *testing.T) {
	for _, kind := range []error{blobstore.ErrUnavailable, blobstore.ErrUnknownOutcome} {
		f := newFaulty(t)
		s := blobstore.Retry(f, blobstore.RetryOptions{})
		for _, cond := range []blobstore.Condition{blobstore.IfAbsent(), blobstore.IfMatch("token")} {
			f.Inject(storetest.Fault{Op: storetest.Conditional, Do: storetest.Fail(kind)})
			if _, err := s.Put(t.Context(), "k/new", nil, cond); !errors.Is(err, kind) {
				t.Errorf("put: %v, want %v", err, kind)
			}
		}
		if got := f.Count(storetest.Any); got != 2 {
			t.Errorf("%d attempts, want 2", got)
		}
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	for _, test := range everyOp {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFaulty(t)
				s := blobstore.Retry(f, blobstore.RetryOptions{})
				f.Inject(storetest.Fault{Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrUnavailable)})

				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				err := test.do(ctx, s)
				if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, blobstore.ErrUnavailable) ||
					!errors.Is(err, storetest.ErrInjected) {
					t.Errorf("error %v, want the deadline and what had failed before it", err)
				}
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("the error has several lines: %q", err)
				}

				f.Calls()
				if err := test.do(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("on a dead context: error %v", err)
				}
				if got := f.Count(storetest.Any); got != 0 {
					t.Errorf("%d attempts on a dead context", got)
				}
			})
		})
	}
}

// brokenList breaks off after every other key.
type brokenList struct {
	blobstore.Store
}

func (b brokenList) List(ctx context.Context, prefix, after string) iter.Seq2[blobstore.Attrs, error] {
	return func(yield func(blobstore.Attrs, error) bool) {
		n := 0
		for attrs, err := range b.Store.List(ctx, prefix, after) {
			if n++; n > 2 {
				yield(blobstore.Attrs{}, &blobstore.Error{Op: "list", Key: prefix, Kind: blobstore.ErrUnavailable})
				return
			}
			if !yield(attrs, err) {
				return
			}
		}
	}
}

func TestRetryResumesAListWhereItBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory()
		var want, got []string
		for i := range 25 {
			want = append(want, fmt.Sprintf("k/%02d", i))
			if _, err := m.Put(t.Context(), want[i], nil, blobstore.Always); err != nil {
				t.Fatal(err)
			}
		}
		s := blobstore.Retry(brokenList{m}, blobstore.RetryOptions{Budget: 5 * time.Second})
		for attrs, err := range s.List(t.Context(), "k/", "") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, attrs.Key)
			<-time.After(10 * time.Second) // fake time: a slow consumer costs no budget
		}
		if !slices.Equal(got, want) {
			t.Errorf("listed %q, want %q", got, want)
		}
	})
}

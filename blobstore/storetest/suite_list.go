package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
)

// list returns the keys that a list yields.
func list(t *testing.T, s blobstore.Store, prefix, after string) []string {
	t.Helper()
	keys := []string{}
	for attrs, err := range s.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatalf("list %q after %q: %v", prefix, after, err)
		}
		keys = append(keys, attrs.Key)
	}
	return keys
}

func wantKeys(t *testing.T, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	if len(got)+len(want) < 100 {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
		return
	}
	differ := 0
	for differ < len(got) && differ < len(want) && got[differ] == want[differ] {
		differ++
	}
	t.Errorf("%s: %d keys, want %d; they differ from the %dth on:\n got %q\nwant %q", what, len(got), len(want),
		differ, got[differ:min(differ+3, len(got))], want[differ:min(differ+3, len(want))])
}

func testListOrder(t *testing.T, s blobstore.Store) {
	wantKeys(t, "empty store", list(t, s, "", ""), []string{})
	for _, i := range []int{7, 3, 11} { // written in some other order
		for j := range oddKeys {
			put(t, s, oddKeys[(j*i)%len(oddKeys)], "x")
		}
	}
	sorted := slices.Sorted(slices.Values(oddKeys))
	wantKeys(t, "all", list(t, s, "", ""), sorted)
	for i, key := range sorted {
		wantKeys(t, "after "+key, list(t, s, "", key), sorted[i+1:])
	}
}

func testListCut(t *testing.T, s blobstore.Store) {
	for _, key := range []string{"a-b", "a/b", "a/b/c", "a/b-c", "a/bc", "a/c/d", "ab", "b/a"} {
		if key != "a/b" { // a file system cannot have it beside a/b/c
			put(t, s, key, "x")
		}
	}
	tests := []struct {
		prefix, after string
		want          []string
	}{
		{"a", "", []string{"a-b", "a/b-c", "a/b/c", "a/bc", "a/c/d", "ab"}},
		{"a/", "", []string{"a/b-c", "a/b/c", "a/bc", "a/c/d"}},
		{"a/b", "", []string{"a/b-c", "a/b/c", "a/bc"}},
		{"a/b/", "", []string{"a/b/c"}},
		{"a/b/c", "", []string{"a/b/c"}},
		{"a/b/c/", "", []string{}},
		{"none", "", []string{}},
		{"none/at/all", "", []string{}},
		{"", "a", []string{"a-b", "a/b-c", "a/b/c", "a/bc", "a/c/d", "ab", "b/a"}},
		{"", "a/b", []string{"a/b-c", "a/b/c", "a/bc", "a/c/d", "ab", "b/a"}},
		{"", "a/b/c", []string{"a/bc", "a/c/d", "ab", "b/a"}},
		{"", "a/b/~", []string{"a/bc", "a/c/d", "ab", "b/a"}},
		{"", "a0", []string{"ab", "b/a"}},
		{"", "zz", []string{}},
		{"a/", "a/b/c", []string{"a/bc", "a/c/d"}},
		{"a/", "Z", []string{"a/b-c", "a/b/c", "a/bc", "a/c/d"}},
		{"a/", "b", []string{}},
	}
	for _, test := range tests {
		wantKeys(t, fmt.Sprintf("list %q after %q", test.prefix, test.after), list(t, s, test.prefix, test.after), test.want)
	}
}

const (
	// longList is more than ten pages of any provider whose pages hold a
	// thousand, and more than two of those whose pages hold five thousand.
	longList    = 10_500
	listWriters = 32
)

func testListLong(t *testing.T, s blobstore.Store) {
	want := make([]string, longList)
	for i := range want {
		want[i] = fmt.Sprintf("long/%02d/%05d", i/500, i)
	}
	fill(t, s, want)
	wantKeys(t, "all", list(t, s, "long/", ""), want)
	for _, from := range []int{longList / 2, 10_000} {
		wantKeys(t, fmt.Sprintf("from the %dth on", from), list(t, s, "", want[from-1]), want[from:])
	}
}

// fill writes a tiny blob for each key, many at a time.
func fill(t *testing.T, s blobstore.Store, keys []string) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range listWriters {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(keys)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if _, err := s.Put(ctx, keys[i], []byte("x"), blobstore.Always); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		t.Fatalf("fill the store: %v", err)
	}
}

func testListStop(t *testing.T, s blobstore.Store) {
	for _, key := range []string{"a", "b/c", "b/d", "e"} {
		put(t, s, key, "x")
	}
	seq := s.List(t.Context(), "", "")
	for range 2 { // a sequence can be ranged over again
		var got []string
		for attrs, err := range seq {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, attrs.Key)
			if len(got) == 2 {
				break
			}
		}
		wantKeys(t, "the first two", got, []string{"a", "b/c"})
	}
}

package storetest

import (
	"fmt"
	"slices"
	"sync"
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
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
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

// longList is more than one page of any provider.
const longList = 1234

func testListLong(t *testing.T, s blobstore.Store) {
	want := make([]string, longList)
	work := make(chan string)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for key := range work {
				if _, err := s.Put(t.Context(), key, []byte("x"), blobstore.Always); err != nil {
					t.Errorf("put %s: %v", key, err)
				}
			}
		})
	}
	for i := range want {
		want[i] = fmt.Sprintf("long/%d/%04d", i/500, i)
		work <- want[i]
	}
	close(work)
	wg.Wait()
	wantKeys(t, "all", list(t, s, "long/", ""), want)
	wantKeys(t, "second half", list(t, s, "", want[longList/2-1]), want[longList/2:])
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

package upkeep

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// What may be gone is not missed, whether it was seen or another object names it;
// nor is what another one names where everything older is gone as well.
func TestWhatMayBeGoneIsNotMissed(t *testing.T) {
	memory := storetest.NewMemory()
	put := func(key string) {
		if _, err := memory.Put(t.Context(), key, []byte(key), blobstore.Always); err != nil {
			t.Fatal(err)
		}
	}
	expired := ""
	w := &watch{
		store: memory, folders: []string{"x/"},
		check: func(_ context.Context, key string, _ bool) (finding, error) {
			return finding{needs: &pin{key: key[:len(key)-1] + string(key[len(key)-1]-1)}}, nil // the one before it
		},
		mayGo:  func(key string, _ time.Time) bool { return key <= expired },
		forget: func(map[string]bool) {},
	}
	look := func(want ...string) {
		t.Helper()
		if err := w.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range w.bad() {
			got = append(got, o.key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("bad: %q, want %q", got, want)
		}
	}
	for _, key := range []string{"x/3", "x/4", "x/6", "x/7"} {
		put(key)
	}
	look("x/5") // and not x/2: all that is older is gone
	expired = "x/5"
	for _, key := range []string{"x/3", "x/4"} {
		if err := memory.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	look()
	if err := memory.Delete(t.Context(), "x/6"); err != nil {
		t.Fatal(err)
	}
	look("x/6")
	put("x/6")
	look()
}

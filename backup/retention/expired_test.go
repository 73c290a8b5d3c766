package retention

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
)

// Each stream is looked at up to its first part that is young: a busy one has a million.
func TestPartsOfStreamsExpireAtAnAgeOfTheirOwn(t *testing.T) {
	memory := storetest.NewMemory()
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	memory.Now = func() time.Time { return now }
	key := func(name string) {
		if _, err := memory.Put(t.Context(), name, nil, blobstore.Always); err != nil {
			t.Fatal(err)
		}
	}
	put := func(source string, id stream.ID, first, last uint64) {
		for sequence := first; sequence <= last; sequence++ {
			key(stream.Key(source, id, sequence))
		}
	}
	first, second := stream.ID{Epoch: 1, N: 1}, stream.ID{Epoch: 1, N: 10}
	put("a", first, 1, 3)
	put("b", first, 1, 2)
	now = now.Add(stream.Life - time.Hour)
	put("a", first, 4, 2000)
	put("a", second, 1, 2)
	put("b.c", second, 1, 1)
	key("streams/stray")
	now = now.Add(time.Hour)
	counting := storetest.NewFaulty(memory)
	var gone []string
	for attrs, err := range Expired(t.Context(), counting, Policy{}, Folders, now, nil) {
		if err != nil {
			t.Fatal(err)
		}
		gone = append(gone, strings.TrimPrefix(attrs.Key, "streams/"))
	}
	if got := strings.Join(gone, " "); got != "a/1-1/000000000001 a/1-1/000000000002 a/1-1/000000000003 b/1-1/000000000001 b/1-1/000000000002" {
		t.Errorf("expired: %s", got)
	}
	if n := counting.Count(storetest.List); n > 8 {
		t.Errorf("%d lists for three folders and four streams", n)
	}
}

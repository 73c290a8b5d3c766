package sim

import (
	"testing"

	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
)

// TestHistoriesAreJudged checks the judge of histories by small ones. Versions
// have the same name as their tokens.
func TestHistoriesAreJudged(t *testing.T) {
	swap := func(at, done int64, from, to string, o ha.Outcome) *operation {
		return &operation{call: call{write: true, cond: blobstore.IfMatch(blobstore.Token(from)), nonce: to}, at: at, done: done, heard: heard{outcome: o}}
	}
	read := func(at, done int64, saw string) *operation {
		return &operation{at: at, done: done, heard: heard{nonce: saw}}
	}
	for _, test := range []struct {
		name string
		want bool
		ops  []*operation
	}{
		{"one after the other", true, []*operation{swap(1, 2, "a", "b", ha.OK), read(3, 4, "b"), swap(5, 6, "b", "c", ha.OK)}},
		{"an old version is read", false, []*operation{swap(1, 2, "a", "b", ha.OK), read(3, 4, "a")}},
		{"an old version is read at the same time", true, []*operation{swap(1, 4, "a", "b", ha.OK), read(2, 3, "a"), read(5, 6, "b")}},
		{"two win", false, []*operation{swap(1, 2, "a", "b", ha.OK), swap(3, 4, "a", "c", ha.OK)}},
		{"one loses to nobody", false, []*operation{swap(1, 2, "a", "b", ha.Lost), read(3, 4, "a")}},
		{"one loses to a write never heard of", true, []*operation{swap(1, 0, "a", "b", ha.Unknown), swap(2, 3, "a", "c", ha.Lost)}},
		{"it lands late", true, []*operation{swap(1, 0, "a", "b", ha.Unknown), read(2, 3, "a"), read(4, 5, "b")}},
		{"it lands and is undone", false, []*operation{swap(1, 0, "a", "b", ha.Unknown), read(2, 3, "b"), read(4, 5, "a")}},
		{"it never lands", true, []*operation{swap(1, 0, "a", "b", ha.Unknown), swap(2, 3, "a", "c", ha.OK), read(4, 5, "c")}},
		{"of several attempts one lands", true, []*operation{
			swap(1, 0, "a", "b", ha.Unknown), swap(2, 0, "a", "c", ha.Unknown), swap(3, 0, "a", "d", ha.Unknown), read(4, 5, "c"),
		}},
		{"two attempts land", false, []*operation{
			swap(1, 0, "a", "b", ha.Unknown), swap(2, 0, "a", "c", ha.Unknown), read(3, 4, "b"), read(5, 6, "c"),
		}},
	} {
		s := &store{nonces: map[blobstore.Token]string{"a": "a", "b": "b", "c": "c", "d": "d"}}
		l := &history{s: s, now: 100, keys: map[string][]*operation{ha.HeadKey: test.ops}}
		if got := l.linearizable(ha.HeadKey, "a"); got != test.want {
			t.Errorf("%s: linearizable %v, want %v", test.name, got, test.want)
		}
	}
}

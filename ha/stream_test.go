package ha_test

import (
	"maps"
	"testing"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
)

// TestASuccessorHasWhatItApplies, and not the log of a stream that it has left out: that is
// to be salvaged.
func TestASuccessorHasWhatItApplies(t *testing.T) {
	before := ha.Stream{Tip: stream.Tip{To: 7}}
	got := ha.Covered(map[string]ha.Stream{
		"whole":     {Tip: stream.Tip{To: 9}, Before: []ha.Stream{before}},
		"gap":       {Tip: stream.Tip{To: 9}, Before: []ha.Stream{before}, Unbased: true},
		"given up":  {Tip: stream.Tip{To: 9}, Unbased: true}, // promote --without-log
		"one alone": {Tip: stream.Tip{To: 3}},
	})
	if want := map[string]stream.Position{"whole": 9, "gap": 7, "one alone": 3}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

package event

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// newTeller tells to a log of its own, and counts what changed.
func newTeller(t *testing.T) (*Teller, *Log, *int) {
	t.Helper()
	l := open(t, t.TempDir()+"/events.jsonl", Options{})
	changed := 0
	return NewTeller(l, "host-a", func() time.Time { return time.Unix(0, 0) }, func() { changed++ }), l, &changed
}

// A trouble is told when it begins, when it is another one, and when it is over; what
// was no trouble is not told to be over.
func TestATroubleIsToldOnceUntilItIsOver(t *testing.T) {
	s, l, changed := newTeller(t)
	ctx := t.Context()
	s.TroubleOver(ctx, "disk", "x", "nothing was wrong")
	for _, text := range []string{"full", "full", "worse"} {
		s.Trouble(ctx, "disk", "x", text)
	}
	s.Trouble(ctx, "disk", "y", "slow")
	if got, want := s.Troubles(), []Trouble{{"disk", "worse"}, {"disk", "slow"}}; !slices.Equal(got, want) {
		t.Errorf("troubles %q, want %q", got, want)
	}
	if got := s.TroubleKeys("disk"); len(got) != 2 || len(s.TroubleKeys("key")) != 0 {
		t.Errorf("keys %q", got)
	}
	for range 2 {
		s.TroubleOver(ctx, "disk", "x", "good again")
	}
	const want = "1 full, 2 worse, 3 slow, 4 good again"
	if got := texts(l.Recent(0, 10)); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if e := l.Recent(0, 10)[0]; e.Level != Alarm || e.Kind != "disk" || e.Instance != "host-a" {
		t.Errorf("told %+v", e)
	}
	if *changed != 4 {
		t.Errorf("the status changed %d times, want 4", *changed)
	}
}

// A record stays small, however much is wrong.
func TestARecordCarriesABoundedPartOfTheTroubles(t *testing.T) {
	s, _, _ := newTeller(t)
	for i := range 3 * maxTroubles {
		s.Trouble(t.Context(), "source", time.Duration(i).String(), strings.Repeat("é", 2*maxTroubleText)+time.Duration(i).String())
	}
	all := s.ShortTroubles()
	if len(all) != maxTroubles {
		t.Errorf("a record carries %d troubles", len(all))
	}
	for _, text := range all {
		if n := len([]rune(text)); n != maxTroubleText+1 {
			t.Errorf("a record carries a text of %d characters", n)
		}
	}
}

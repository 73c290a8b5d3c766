package upkeep

import (
	"testing"
	"time"
)

func TestStandbysAreSpreadByTheirNames(t *testing.T) {
	seen := make(map[int]int)
	for _, name := range []string{"a", "b", "c", "host-a", "host-b", "host-c", "db-1", "db-2", "eu", "us", "x1", "x2"} {
		s := Spread(name, time.Minute)
		if s < 0 || s >= time.Minute {
			t.Fatalf("%s: %v", name, s)
		}
		seen[int(4*s/time.Minute)]++
	}
	if len(seen) < 3 {
		t.Errorf("quarters %v", seen)
	}
}

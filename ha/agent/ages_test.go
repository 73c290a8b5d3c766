package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestAgesOfLogsAreRemembered: the worst of each time, and nothing of one in which it was not
// known for a moment; a replica has none.
func TestAgesOfLogsAreRemembered(t *testing.T) {
	var g ages
	begun := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	at := func(d time.Duration, all ...report.StreamStatus) {
		g.note(ha.Now{Mono: d, Wall: begun.Add(d)}, all)
	}
	log := func(source string, age float64) report.StreamStatus {
		return report.StreamStatus{Source: source, Stream: "1-1", Based: true, Age: age}
	}
	at(0, log("db", .5), log("other", 1))
	at(10*time.Second, log("db", 7), log("other", -1))
	at(agesEvery, log("db", 1), log("other", 2))
	at(agesEvery+time.Second, log("db", 3), report.StreamStatus{Source: "other", Stream: "1-1", Age: 1}) // no backup leads up to it
	at(2*agesEvery+time.Second, log("db", 1))
	at(3*agesEvery, report.StreamStatus{Source: "db", Replica: true, Age: 5})
	at(9*agesEvery, report.StreamStatus{Source: "db", Replica: true, Age: 5})
	want := []AgeSample{
		{begun.Add(agesEvery), map[string]float64{"db": 7}},
		{begun.Add(2*agesEvery + time.Second), map[string]float64{"db": 3}},
	}
	if diff := cmp.Diff(want, g.samples); diff != "" {
		t.Error(diff)
	}
	for i := range 2 * mostAges {
		at(time.Duration(10+2*i)*agesEvery, log("db", 1))
		at(time.Duration(11+2*i)*agesEvery, log("db", 1))
	}
	if len(g.samples) != mostAges {
		t.Errorf("%d samples", len(g.samples))
	}
}

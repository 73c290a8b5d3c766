package main

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha/report"
)

// TestStatusSaysHowFarLogsHaveCome: and no more than was looked at.
func TestStatusSaysHowFarLogsHaveCome(t *testing.T) {
	shipped := report.StreamStatus{Source: "db", Stream: "3-1", Part: 4, To: 900, Age: 0, Runs: true, Based: true, Confirmed: true}
	replica := report.StreamStatus{Source: "db", Replica: true, Stream: "3-1", Part: 4, Runs: true, Based: true, Age: -1}
	for want, change := range map[string]func(s *report.StreamStatus){
		"db: stream 3-1, part 4, position 900, all that was read is in the bucket, confirmed to the source": func(*report.StreamStatus) {},
		"db: stream 3-1, part 4, position 900, all that was read is in the bucket, confirmed to the source, of which the server keeps 16 MiB, commits wait for the bucket": func(s *report.StreamStatus) {
			s.Kept = &report.KeptLog{Time: time.Unix(1e9, 0), Bytes: 16 << 20, Synced: true, Waits: true}
		},
		"db: stream 3-1, part 4, position 900, what was read in the last 1.5s is not in the bucket, confirmed to the source": func(s *report.StreamStatus) { s.Age = 1.5 },
		"db: stream 3-1, part 4, position 900, all that was read is in the bucket, no backup leads up to it yet":             func(s *report.StreamStatus) { s.Based, s.Confirmed = false, false },
		"db: stream 3-1, part 4, position 900, all that was read is in the bucket, not confirmed to the source yet":          func(s *report.StreamStatus) { s.Confirmed = false },
		"db: stream 3-1, part 4, position 900, how much of the log is in the bucket is not known yet, the log is not read, no connection": func(s *report.StreamStatus) {
			s.Age, s.Runs, s.Error = -1, false, "no connection"
		},
		"db: not shipped: there is no stream":                                          func(s *report.StreamStatus) { *s = report.StreamStatus{Source: "db", Age: -1} },
		"db: the replica follows stream 3-1, part 4, all of it applied":                func(s *report.StreamStatus) { *s = replica },
		"db: the replica follows stream 3-1, part 4, 2.0 KiB (300ms) not applied yet":  func(s *report.StreamStatus) { *s = replica; s.Behind, s.Lag = 2048, .3 },
		"db: the replica follows stream 3-1, part 4, 2.0 KiB not applied yet":          func(s *report.StreamStatus) { *s = replica; s.Behind, s.Lag = 2048, -1 },
		"db: the replica follows stream 3-1, part 4, what it has applied is not known": func(s *report.StreamStatus) { *s = replica; s.Behind = -1 },
		"db: the replica does not follow stream 3-1, part 5 is gone":                   func(s *report.StreamStatus) { *s = replica; s.Runs, s.Error = false, "part 5 is gone" },
		"db: no stream to follow":                                                      func(s *report.StreamStatus) { *s = replica; s.Runs, s.Stream = false, "" },
	} {
		s := shipped
		change(&s)
		if got := streamsLine(report.Status{Streams: []report.StreamStatus{s}}); got != want {
			t.Errorf("%q; want %q", got, want)
		}
	}
}

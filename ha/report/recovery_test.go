package report

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
)

var now = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return now.Add(-d) }

// streaming is an instance of a cluster with a database whose log is shipped, and a folder;
// the backup is three minutes old.
func streaming(role ha.Role) Status {
	newest := backup.Ref{ID: "newest", Digest: "newest", Time: before(3 * time.Minute)}
	id := stream.ID{Epoch: 2, N: 1}
	s := Status{
		Status: ha.Status{
			Role: role, Leading: true, App: "running", Bucket: "ok", Epoch: 2, Rehearsed: ha.Rehearsed{Backup: "newest"},
			Head: &ha.Head{Epoch: 2, Active: ha.Peer{Name: "a"}, Newest: &newest, Fencing: ha.DefaultConfig().Fencing,
				Streams: map[string]ha.Stream{"db": {ID: id, Tip: stream.Tip{Sequence: 7, To: 900, Time: before(20 * time.Second)}}}},
		},
		Instance: "a", Active: "a", Staged: "newest", LastBackup: &newest, LastBackupAge: 180, HeadAge: 1, Ready: true,
		Protects:  Protection{Sources: []ProtectedSource{{Name: "db"}, {Name: "uploads"}}},
		Streams:   []StreamStatus{{Source: "db", Stream: "2-1", Part: 8, Time: before(time.Second), UpTo: before(400 * time.Millisecond), Age: .4, Runs: true, Based: true, Confirmed: true, Behind: -1, Lag: -1}},
		Instances: []InstanceStatus{{Name: "a", Role: ha.RoleActive, State: StateActive}, {Name: "b", Role: ha.RoleStandby, State: StateInSync, Ready: true}},
	}
	if role == ha.RoleStandby {
		s.Instance = "b"
		s.Streams = []StreamStatus{{Source: "db", Replica: true, Stream: "2-1", Part: 8, Time: before(2 * time.Second), Runs: true, Based: true, Age: -1}}
		s.Instances[0].Shipped = map[string]ha.ShippedLog{"db": {Stream: id, UpTo: before(30 * time.Second)}}
	}
	for i := range s.Instances {
		s.Instances[i].Self = s.Instances[i].Name == s.Instance
	}
	return s
}

// TestEachSourceHasItsRecoveryPoint: by its log where that counts, and by the backup where
// it does not; and nothing is called good that is not.
func TestEachSourceHasItsRecoveryPoint(t *testing.T) {
	own := func(s *Status) *StreamStatus { return &s.Streams[0] }
	head := func(s *Status, change func(*ha.Stream)) {
		named := s.Head.Streams["db"]
		change(&named)
		s.Head.Streams["db"] = named
	}
	for name, c := range map[string]struct {
		role   ha.Role
		change func(s *Status)
		want   string
		good   bool
	}{
		"active": {ha.RoleActive, func(*Status) {}, "db: 0.4s ago", true},
		"unbased": {ha.RoleActive, func(s *Status) { head(s, func(of *ha.Stream) { of.Unbased = true }); own(s).Based = false },
			"db: 3m0s ago (backup: no backup leads up to stream 2-1 yet)", false},
		"no stream":     {ha.RoleActive, func(s *Status) { s.Head.Streams = nil; *own(s) = StreamStatus{Source: "db", Age: -1} }, "db: 3m0s ago (backup: its log is not shipped)", false},
		"not confirmed": {ha.RoleActive, func(s *Status) { own(s).Confirmed = false }, "db: 0.4s ago (not confirmed to it yet)", false},
		"not read any more": {ha.RoleActive, func(s *Status) { own(s).Runs, own(s).UpTo, own(s).Age = false, before(90*time.Second), 90 },
			"db: 1m30s ago (its log is not known to be shipped now)", false},
		"nothing known of it": {ha.RoleActive, func(s *Status) { own(s).Runs, own(s).UpTo, own(s).Age = false, time.Time{}, -1 },
			"db: 3m0s ago (backup: its log is not known to be shipped now)", false},
		"it does not come through": {ha.RoleActive, func(s *Status) { own(s).UpTo, own(s).Age = before(2*time.Minute), 120 }, "db: 2m0s ago", false},
		"standby":                  {ha.RoleStandby, func(*Status) {}, "db: 2.0s ago", true},
		"by the head": {ha.RoleStandby, func(s *Status) {
			own(s).Runs, own(s).Part, own(s).Time = false, 0, time.Time{}
		}, "db: 20s ago (the replica here does not follow: what it lacks is applied first, or it is built anew)", false},
		"by the active's record, which has nothing newer to ship": {ha.RoleStandby, func(s *Status) {
			own(s).Time = before(time.Hour)
			head(s, func(of *ha.Stream) { of.Tip.Time = before(time.Hour) })
		}, "db: 30s ago", true},
		"a record of another stream": {ha.RoleStandby, func(s *Status) {
			s.Instances[0].Shipped["db"] = ha.ShippedLog{Stream: stream.ID{Epoch: 1, N: 4}, UpTo: now}
		}, "db: 2.0s ago", true},
		"unbased, on a standby": {ha.RoleStandby, func(s *Status) { head(s, func(of *ha.Stream) { of.Unbased = true }) }, "db: 3m0s ago (backup: no backup leads up to stream 2-1 yet)", false},
	} {
		s := streaming(c.role)
		c.change(&s)
		s.Judge(Known{Now: now, Poll: 10 * time.Second})
		want := c.want + "; uploads: 3m0s ago (backup)"
		if got := PointsText(s.Recovery); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if !strings.Contains(s.Outlook, "what came after the recovery point of each source ("+want+")") {
			t.Errorf("%s: %s", name, s.Outlook)
		}
		if (s.Verdict == VerdictHealthy) != c.good || c.good && !s.OutlookGood {
			t.Errorf("%s: %s, %v; %q, %q", name, s.Verdict, s.OutlookGood, s.Problems, s.Caveats)
		}
		if !c.good && !slices.ContainsFunc(s.Findings, func(f Finding) bool { return f.Topic == topicStream }) {
			t.Errorf("%s: nothing is said of the stream: %+v", name, s.Findings)
		}
	}
}

// TestWithoutStreamsAllIsAsOldAsTheBackup, and is told as ever.
func TestWithoutStreamsAllIsAsOldAsTheBackup(t *testing.T) {
	s := streaming(ha.RoleStandby)
	s.Head.Streams, s.Streams = nil, nil
	s.Judge(Known{Now: now, Poll: 10 * time.Second})
	if s.Recovery != nil || !strings.Contains(s.Outlook, "a failover would lose what came after the newest backup (3m0s ago)") || s.Verdict != VerdictHealthy {
		t.Errorf("%+v: %s", s.Recovery, s.Outlook)
	}
}

// TestTheActiveStillSaysNoMoreThanItKnows: a stream of the head that this process does not
// ship yet counts up to what the head says of it.
func TestTheActiveStillSaysNoMoreThanItKnows(t *testing.T) {
	s := streaming(ha.RoleActive)
	s.Streams[0].Stream = ""
	s.Judge(Known{Now: now, Poll: 10 * time.Second})
	if got := PointsText(s.Recovery[:1]); got != "db: 20s ago (its log is not known to be shipped now)" {
		t.Error(got)
	}
}

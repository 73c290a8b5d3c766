package report

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
)

// TestWhatAServerKeepsIsJudged, each with its entry of the runbook.
func TestWhatAServerKeepsIsJudged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(s *Status, k *KeptLog)
		of     Topic // "": nothing is said
		want   string
		caveat bool
	}{
		"as it should be":     {func(*Status, *KeptLog) {}, "", "", false},
		"not asked":           {func(s *Status, _ *KeptLog) { s.Streams[0].Kept = nil }, "", "", false},
		"no answer":           {func(_ *Status, k *KeptLog) { *k = KeptLog{Error: "refused"} }, topicKept, "has not said yet what log it keeps: refused", true},
		"an old answer":       {func(_ *Status, k *KeptLog) { k.Time, k.Error = before(time.Hour), "timeout" }, topicKept, "is as of 1h0m0s ago: timeout", true},
		"more than fits":      {func(_ *Status, k *KeptLog) { k.Room = 15 << 20 }, topicKept, "keeps 16 MiB of log for this agent, and has room for 15 MiB more", false},
		"lost":                {func(_ *Status, k *KeptLog) { k.Lost, k.Room = true, 0 }, topicKept, "has deleted log that this agent still needs", false},
		"commits do not wait": {func(_ *Status, k *KeptLog) { k.Waits, k.Unsynced = false, 61 }, topicSync, "commits of db do not wait for the bucket, though sync is set", false},
		"for a moment":        {func(_ *Status, k *KeptLog) { k.Waits, k.Unsynced = false, 59 }, "", "", false},
		"base overdue":        {func(_ *Status, k *KeptLog) { k.BaseDue = before(7 * time.Hour) }, topicBase, "should have been replaced 7h0m0s ago", false},
		"base due":            {func(_ *Status, k *KeptLog) { k.BaseDue = before(5 * time.Hour) }, "", "", false},
		"unpacked":            {func(s *Status, _ *KeptLog) { s.LastBackupAge = 25 * 3600 }, topicBase, "64 KiB of log of db are in no backup for 25h0m0s", false},
		"idle":                {func(s *Status, k *KeptLog) { s.LastBackupAge, k.Unpacked = 25*3600, 0 }, "", "", false},
		"paused":              {func(s *Status, _ *KeptLog) { s.Streams[0].Paused = true }, topicPaused, "the replica of db had paused", false},
	} {
		s := streaming(ha.RoleActive)
		k := &KeptLog{Time: before(15 * time.Second), Bytes: 16 << 20, Room: 1 << 30, Synced: true, Waits: true, BaseDue: now.Add(time.Hour), Unpacked: 64 << 10}
		s.Streams[0].Kept = k
		c.change(&s, k)
		s.Judge(Known{Now: now, Poll: 10 * time.Second})
		var said []Finding
		for _, f := range s.Findings {
			switch f.Topic {
			case topicKept, topicSync, topicBase, topicPaused:
				said = append(said, f)
			}
		}
		switch {
		case c.of == "" && len(said) > 0:
			t.Errorf("%s: %+v", name, said)
		case c.of != "" && (len(said) != 1 || said[0].Topic != c.of || said[0].Wrong == c.caveat || !strings.Contains(said[0].Text, c.want)):
			t.Errorf("%s: %+v", name, said)
		}
	}
}

// TestThatCommitsDoNotWaitIsSaidOnce: whoever lifted it has told why.
func TestThatCommitsDoNotWaitIsSaidOnce(t *testing.T) {
	t.Parallel()
	s := streaming(ha.RoleActive)
	s.Streams[0].Kept = &KeptLog{Time: now, Room: 1, Synced: true, Unsynced: 90}
	s.Judge(Known{Now: now, Poll: 10 * time.Second, Troubles: []event.Trouble{{Kind: "streams", Text: "commits of db do not wait for the bucket, which has not answered for 10s"}}})
	if n := strings.Count(strings.Join(s.Problems, "\n"), "do not wait"); n != 1 {
		t.Errorf("%q", s.Problems)
	}
}

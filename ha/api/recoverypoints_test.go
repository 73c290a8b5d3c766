package api

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
)

// chained is an agent with a chain of backups and a history.
type chained struct {
	*fakeAgent
	list    []control.BackupInfo
	history []control.ClusterEvent
	broken  error // of every page of backups but the first
	asked   int
}

func (c *chained) BackupsAfter(_ context.Context, id string, limit int) (control.BackupList, error) {
	if c.asked++; id != "" && c.broken != nil {
		return control.BackupList{}, c.broken
	}
	from := 0
	for i := range c.list {
		if c.list[i].ID == id {
			from = i + 1
		}
	}
	list := control.BackupList{Backups: c.list[from:min(from+limit, len(c.list))]}
	if from+limit < len(c.list) {
		list.Next = list.Backups[limit-1].ID
	}
	return list, nil
}

func (c *chained) ClusterHistory(context.Context, string, int) (control.ClusterHistory, error) {
	return control.ClusterHistory{Events: c.history}, nil
}

// at is a time of the day that is looked at.
func at(hour, minute int) time.Time { return time.Date(2026, 3, 4, hour, minute, 0, 0, time.UTC) }

func made(epoch uint64, t time.Time, took float64) control.BackupInfo {
	id := fmt.Sprintf("%s-e%08d-s%08d-0c1d2e3f", t.Format("20060102T150405Z"), epoch, t.Unix()%1e6)
	return control.BackupInfo{Ref: backup.Ref{ID: id, Epoch: epoch, Time: t}, Duration: took}
}

func lookBack(t *testing.T, c *chained, span time.Duration) RecoveryPoints {
	t.Helper()
	r, err := pastPoints{c, c, c}.since(t.Context(), at(12, 0), span)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func states(r RecoveryPoints) (all []string) {
	for _, p := range r.Points {
		all = append(all, p.Time.Format("15:04")+" has "+p.State.Format("15:04"))
	}
	return all
}

// TestAFailoverGoesBackToWhatItRestored: what came after that counts no more, and what
// an active of an ended epoch publishes, or a salvage, never does.
func TestAFailoverGoesBackToWhatItRestored(t *testing.T) {
	restored := made(1, at(10, 0), 60)
	salvage := made(1, at(11, 0), 60)
	salvage.Salvage = true
	damaged := made(2, at(11, 45), 60)
	damaged.Damaged = "its signature does not hold"
	c := &chained{
		fakeAgent: newFake(t),
		list:      []control.BackupInfo{damaged, made(2, at(11, 30), 120), made(1, at(11, 10), 60), salvage, made(1, at(10, 30), 60), restored, made(1, at(9, 0), 60), made(1, at(8, 0), 60)},
		history:   []control.ClusterEvent{{Kind: control.PromotionKind, Time: at(11, 5), Epoch: 2, Backup: restored.ID, Text: "b became the active"}, {Kind: control.BackupKind, Time: at(10, 30)}},
	}
	c.events.Add(t.Context(), event.Event{Time: at(10, 45), Level: event.Alarm, Kind: "backup", Text: "the backup failed: no room"})
	c.events.Add(t.Context(), event.Event{Time: at(10, 46), Level: event.Info, Kind: "backup", Text: "backups come again"})
	r := lookBack(t, c, 2*time.Hour+30*time.Minute)
	want := []string{"09:01 has 09:00", "10:01 has 10:00", "10:31 has 10:30", "11:05 has 10:00", "11:32 has 11:30"}
	if diff := cmp.Diff(want, states(r)); diff != "" {
		t.Error(diff)
	}
	marks := []Mark{{at(10, 45), "failure", "the backup failed: no room"}, {at(11, 5), "promotion", "b became the active"}}
	if diff := cmp.Diff(marks, r.Marks); diff != "" {
		t.Error(diff)
	}
	if r.Unknown != "" || r.KnownSince == nil || !r.KnownSince.Equal(at(9, 30)) || r.Instance != "a" {
		t.Errorf("%+v", r)
	}
}

// TestWhatIsNotKnownOfTheSpanIsSaid: a young cluster, a page that cannot be read, a
// bucket that does not answer, and more backups than are looked at.
func TestWhatIsNotKnownOfTheSpanIsSaid(t *testing.T) {
	young := &chained{fakeAgent: newFake(t), list: []control.BackupInfo{made(1, at(11, 0), 1)}}
	if r := lookBack(t, young, 24*time.Hour); r.Unknown != "" || r.KnownSince == nil || !r.KnownSince.Equal(at(11, 0)) {
		t.Errorf("a young cluster: %+v", r)
	}
	if r := lookBack(t, &chained{fakeAgent: newFake(t)}, time.Hour); r.KnownSince != nil || len(r.Points) != 0 {
		t.Errorf("without a backup: %+v", r)
	}
	var many []control.BackupInfo
	for i := range pointsMost + 2*pointsPage {
		many = append(many, made(1, at(11, 59).Add(-time.Duration(i)*time.Second), 0))
	}
	c := &chained{fakeAgent: newFake(t), list: many}
	if r := lookBack(t, c, 24*time.Hour); r.Unknown == "" || c.asked != pointsMost/pointsPage || !r.KnownSince.Equal(many[pointsMost-1].Time) {
		t.Errorf("%d pages: %q %v", c.asked, r.Unknown, r.KnownSince)
	}
	c = &chained{fakeAgent: newFake(t), list: many, broken: errors.New("the line is cut")}
	if r := lookBack(t, c, 24*time.Hour); r.Unknown != "not all backups could be read: the line is cut" || len(r.Points) == 0 {
		t.Errorf("%+v", r)
	}
	young.change(func() { young.status = report.Status{Status: ha.Status{Bucket: "it does not answer"}} })
	if r := lookBack(t, young, time.Hour); r.Unknown != "the bucket cannot be used (it does not answer): only what is cached here is known" {
		t.Errorf("%+v", r)
	}
}

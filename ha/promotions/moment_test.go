package promotions

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/moments"
	"github.com/understudy-ha/understudy/ha/report"
)

const recordingKind = "promotions-test"

func init() {
	source.Register(source.Kind{Name: recordingKind, Moments: &source.Moments{
		Recording: func(e source.Entry) (is source.Recording, ok bool) { return is, json.Unmarshal(e.Facts, &is) == nil },
		Continues: func(source.Entry, json.RawMessage) bool { return false },
	}})
}

// List and Manifest are the chain of one backup; there is no stream.
func (s *standby) List(context.Context, string, int) (control.BackupList, error) {
	return control.BackupList{Backups: []control.BackupInfo{control.InfoOf(s.newest.Ref, s.manifest)}}, nil
}

func (s *standby) Manifest(context.Context, backup.Ref) (*backup.Manifest, error) {
	return s.manifest, nil
}

type noStreams struct{}

func (noStreams) Streams(context.Context, string) ([]stream.ID, error) { return nil, nil }

func (noStreams) RunFrom(context.Context, string, stream.ID, stream.Position, stream.Position) (stream.Run, error) {
	return stream.Run{}, stream.ErrGone
}

func (noStreams) Read(context.Context, string, stream.ID, stream.Tip) (stream.Part, stream.Tip, error) {
	return stream.Part{}, stream.Tip{}, stream.ErrGone
}

// recorded has a source with a log of the last ten minutes, up to a minute ago, and a folder,
// in a backup that was made three minutes ago.
func (s *standby) recorded(t *testing.T) (now time.Time) {
	t.Helper()
	now = time.Now().UTC()
	facts, err := json.Marshal(source.Recording{Base: "base", Log: "log", Since: now.Add(-10 * time.Minute), Until: now.Add(-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	s.newest.Time, s.manifest.Time = now.Add(-3*time.Minute), now.Add(-3*time.Minute)
	s.manifest.Sources = []source.Entry{{Name: "db", Kind: recordingKind, Facts: facts}, {Name: "uploads"}}
	s.moments = func() (*moments.Moments, error) { return moments.Find(t.Context(), s, noStreams{}) }
	return now
}

// TestAPromotionToAMomentSaysWhatItRestores, of each source, and hands the machine the moment
// with its backup, though that is the newest.
func TestAPromotionToAMomentSaysWhatItRestores(t *testing.T) {
	s := newStandby(t)
	now := s.recorded(t)
	at := now.Add(-2 * time.Minute)
	s.rehearsal = &ha.Rehearsal{Backup: "newest", Result: ha.RehearsalPassed, Took: ha.Duration(90 * time.Second)}
	p, err := s.Preflight(t.Context(), PromotionRequest{Moment: &at})
	if err != nil || !p.OK || p.Backup.ID != "newest" || p.Moment == nil || !p.Moment.Equal(at) {
		t.Fatalf("%+v, %v", p, err)
	}
	if text := report.PointsText(p.Loss.Sources); text != "db: 2m0s ago (a moment in its log: it is built anew here, which took 1m30s when a backup was rehearsed last); uploads: 3m0s ago (backup)" {
		t.Error(text)
	}
	if want := "what came after " + ha.MomentText(at) + " in db, and after backup newest in the other sources"; p.Loss.Summary != want {
		t.Errorf("%s, and not %s", p.Loss.Summary, want)
	}
	for _, c := range p.Checks {
		if c.Name == "rehearsal" && strings.Contains(c.Detail, "passed") {
			t.Errorf("a moment is said to be rehearsed: %s", c.Detail)
		}
	}
	if _, err := s.Promote(t.Context(), PromotionRequest{Moment: &at, Mode: ha.ModeFailover}); err != nil {
		t.Fatal(err)
	}
	if e := s.asked[0]; e.Chosen == nil || e.Chosen.ID != "newest" || e.Moment == nil || !e.Moment.Equal(at) {
		t.Errorf("asked for %+v", e)
	}
}

// TestAMomentThatCannotBeReachedIsRefused in one line, before anything is checked.
func TestAMomentThatCannotBeReachedIsRefused(t *testing.T) {
	s := newStandby(t)
	now := s.recorded(t)
	for _, at := range []time.Time{now.Add(-time.Hour), now.Add(-30 * time.Second), now.Add(time.Hour)} {
		for _, dry := range []bool{true, false} {
			_, err := s.Promote(t.Context(), PromotionRequest{Moment: &at, DryRun: dry})
			if !ha.IsRefusal(err) || !strings.Contains(err.Error(), "cannot be brought to "+ha.MomentText(at)) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", at, err)
			}
		}
	}
	at := now.Add(-2 * time.Minute)
	for _, req := range []PromotionRequest{{Moment: &at, Backup: "newest"}, {Moment: &at, WithoutLog: true}} {
		if _, err := s.Preflight(t.Context(), req); !errors.Is(err, ha.ErrInvalid) {
			t.Errorf("%+v: %v", req, err)
		}
	}
	s.manifest.Sources = s.manifest.Sources[1:]
	if _, err := s.Preflight(t.Context(), PromotionRequest{Moment: &at}); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "there are backups alone") {
		t.Errorf("without such a source: %v", err)
	}
	if len(s.asked) > 0 {
		t.Errorf("asked for %+v", s.asked)
	}
}

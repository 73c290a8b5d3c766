package promotions

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/holder"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/application"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/moments"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
)

// standby is one that could take over from the active a; its machine begins whatever it
// is asked for, unless it refuses.
type standby struct {
	*Promotions
	asking    *requests.Asking
	mu        sync.Mutex
	core      ha.Status
	changed   chan struct{}
	stopped   chan struct{}
	refuses   error
	asked     []ha.Promote
	rehearsal *ha.Rehearsal
	held      []holder.Holder
	version   string
	restore   error
	store     *control.Store
	head      *ha.Head
	newest    control.BackupInfo
	manifest  *backup.Manifest
	moments   func() (*moments.Moments, error)
}

func (s *standby) Moments(context.Context) (*moments.Moments, error) { return s.moments() }

func (s *standby) Hand(_ context.Context, ev ha.Event) error {
	e, ok := ev.(ha.Promote)
	if !ok {
		return nil
	}
	s.asked = append(s.asked, e)
	if s.refuses == nil {
		s.core.Promotion = &ha.Promotion{ID: e.Request, Mode: e.Mode, Phase: ha.PhaseLease}
	} else {
		s.asking.Answer(ha.Answer{Request: e.Request, Refused: s.refuses})
	}
	return nil
}

func (s *standby) knownVersion(context.Context) (string, error) { return s.version, nil }

func (s *standby) Stopped() <-chan struct{} { return s.stopped }
func (s *standby) View() ha.Status          { c, _ := s.ViewAt(); return c }
func (s *standby) ViewAt() (ha.Status, ha.Now) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core, ha.Now{}
}
func (s *standby) Changed() <-chan struct{} { return s.changed }

func (s *standby) Of(string) (ha.Rehearsal, bool) {
	if s.rehearsal == nil {
		return ha.Rehearsal{}, false
	}
	return *s.rehearsal, true
}

func (s *standby) Find(_ context.Context, _ *ha.Head, id string) (control.BackupInfo, *backup.Manifest, error) {
	if id != "" && id != s.newest.ID {
		return control.BackupInfo{}, nil, control.ErrNoBackup
	}
	return s.newest, s.manifest, nil
}

func newStandby(t *testing.T) *standby {
	t.Helper()
	ring := sealtest.NewRing(t, rand.Reader)
	s := &standby{changed: make(chan struct{}), stopped: make(chan struct{}), version: "4.2"}
	s.store = control.New(control.Config{Store: storetest.NewMemory(), Ring: ring, Timeout: time.Minute}, "one")
	keys, err := seal.NewDataKeys(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := ring.Wrap(keys, "one", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.newest = control.BackupInfo{Ref: backup.Ref{ID: "newest"}, Newest: true}
	s.manifest = &backup.Manifest{DataKey: wrapped, AppVersion: "4.2"}
	s.head = &ha.Head{Format: ha.Format, Cluster: "one", Epoch: 3, Active: ha.Peer{Name: "a"}, Fencing: ha.DefaultConfig().Fencing}
	if _, err := s.store.Write(t.Context(), ha.KindHead, ha.HeadKey, s.head, blobstore.Always); err != nil {
		t.Fatal(err)
	}
	s.core = ha.Status{Role: ha.RoleStandby, Bucket: "ok", Epoch: 3, Head: s.head}
	s.asking = requests.NewAsking(s, s, rand.Reader)
	s.Promotions = New(Host{
		Instance: "b", Status: func() report.Status { return report.Status{Status: s.core, Instance: "b", Active: "a", HeadAge: 1} },
		State: s, Asking: s.asking, Stopped: s.stopped, Control: s.store, Catalogue: s, Rehearsals: s, Ring: ring, Clock: clock.System(),
		InForce: func() application.Setup { return application.Setup{Version: s.knownVersion} },
		Version: s.knownVersion, Progress: func() *backup.Progress { return nil },
		Holders:           func(context.Context) (holder.Found, error) { return holder.Found{Holders: s.held}, nil },
		CheckRestore:      func(context.Context, *backup.Manifest) error { return s.restore },
		CheckVolumes:      func(context.Context, source.Source) error { return nil },
		RefuseUnstoppable: func() error { return nil },
	})
	return s
}

// failing are the names of the checks that a promotion does not pass.
func failing(p Preflight) (names []string) {
	for _, c := range p.Checks {
		if !c.OK {
			names = append(names, c.Name)
		}
	}
	return names
}

// TestWhatKeepsAPromotionFromWorkingIsFoundBefore: each by its own check, and nothing is
// asked of the machine.
func TestWhatKeepsAPromotionFromWorkingIsFoundBefore(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *standby)
		req    PromotionRequest
		fails  string
	}{
		"it is the active":          {func(s *standby) { s.core.Role, s.core.Leading = ha.RoleActive, true }, PromotionRequest{}, "role"},
		"one is under way":          {func(s *standby) { s.core.Promotion = &ha.Promotion{ID: "x"} }, PromotionRequest{}, "role"},
		"it owes a salvage":         {func(s *standby) { s.core.Demotion = &ha.Demotion{Epoch: 2, Acked: true} }, PromotionRequest{}, "role"},
		"another version":           {func(s *standby) { s.version = "4.3" }, PromotionRequest{}, "version"},
		"it does not fit":           {func(s *standby) { s.restore = errors.New("no room") }, PromotionRequest{}, "restore"},
		"its rehearsal failed":      {func(s *standby) { s.rehearsal = &ha.Rehearsal{Backup: "newest", Result: ha.RehearsalFailed} }, PromotionRequest{}, "rehearsal"},
		"somebody has it open":      {func(s *standby) { s.held = []holder.Holder{{PID: 1}} }, PromotionRequest{}, "open files"},
		"a key that is not known":   {func(s *standby) { s.manifest.DataKey = "of another cluster" }, PromotionRequest{}, "key"},
		"an older head":             {func(s *standby) { s.core.Seen = ha.Position{Epoch: 4, Rev: 1} }, PromotionRequest{}, "head"},
		"a word against strictness": {func(*standby) {}, PromotionRequest{HostIsOff: true}, "host is off"}, // it is of failovers
	} {
		s := newStandby(t)
		c.change(s)
		p, err := s.Preflight(t.Context(), c.req)
		if err != nil || p.OK || !slices.Contains(failing(p), c.fails) {
			t.Errorf("%s: %q fail, %v", name, failing(p), err)
		}
		if _, err := s.Promote(t.Context(), c.req); !ha.IsRefusal(err) || len(s.asked) != 0 {
			t.Errorf("%s: %v, asked for %+v", name, err, s.asked)
		}
	}
}

// TestAWordWaivesWhatItIsAbout, and nothing else.
func TestAWordWaivesWhatItIsAbout(t *testing.T) {
	s := newStandby(t)
	s.version = "4.3"
	s.rehearsal = &ha.Rehearsal{Backup: "newest", Result: ha.RehearsalFailed}
	s.core.Demotion = &ha.Demotion{Epoch: 2, Acked: true}
	p, err := s.Preflight(t.Context(), PromotionRequest{AllowVersionMismatch: true, AllowFailedRehearsal: true, WaiveSalvage: true})
	if err != nil || !p.OK {
		t.Errorf("%q fail, %v", failing(p), err)
	}
}

// TestARequestReachesTheMachineAsItWasMade: who asks and what was shown with it; a dry run
// reaches nobody.
func TestARequestReachesTheMachineAsItWasMade(t *testing.T) {
	s := newStandby(t)
	if id, err := s.Promote(t.Context(), PromotionRequest{DryRun: true}); err != nil || id != "" || len(s.asked) != 0 {
		t.Errorf("a dry run: %q, %v, asked for %+v", id, err, s.asked)
	}
	if _, err := s.Promote(t.Context(), PromotionRequest{Mode: "sideways"}); !errors.Is(err, ha.ErrInvalid) {
		t.Errorf("another mode: %v", err)
	}
	if _, err := s.Promote(t.Context(), PromotionRequest{Backup: "none"}); !errors.Is(err, control.ErrNoBackup) {
		t.Errorf("another backup: %v", err)
	}
	id, err := s.Promote(event.WithActor(t.Context(), "alice"), PromotionRequest{Backup: "newest", Mode: ha.ModeFailover, HostIsOff: true, Reason: "fire"})
	if err != nil {
		t.Fatal(err)
	}
	e := s.asked[0]
	if e.Request != id || e.By != "alice" || e.Mode != ha.ModeFailover || !e.HostIsOff || e.Reason != "fire" || e.Chosen != nil || e.Shown == nil || e.Shown.ID != "newest" {
		t.Errorf("asked for %+v", e)
	}
}

// TestAPromotionIsFollowedToItsEnd, and known afterwards.
func TestAPromotionIsFollowedToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStandby(t)
		id, err := s.Promote(t.Context(), PromotionRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if got, found := s.Promotion(id); !found || got.State != PromotionRunning || got.Phase != ha.PhaseLease {
			t.Errorf("under way: %+v, %t", got, found)
		}
		time.AfterFunc(time.Second, func() {
			s.mu.Lock()
			s.core.Promotion = nil
			s.mu.Unlock()
			s.Remember(&ha.Result{ID: id, Promoted: true, Epoch: 4, Downtime: ha.Duration(3 * time.Second)})
			close(s.changed)
		})
		got, err := s.WaitPromotion(t.Context(), id)
		if err != nil || got.State != PromotionDone || got.Epoch != 4 || got.Downtime != 3 {
			t.Errorf("ended: %+v, %v", got, err)
		}
		s.Remember(&ha.Result{ID: id, Error: "told again"})
		if got, _ := s.Promotion(id); got.State != PromotionDone {
			t.Errorf("afterwards: %+v", got)
		}
		if _, err := s.WaitPromotion(t.Context(), "another"); !errors.Is(err, ErrNoPromotion) {
			t.Errorf("another: %v", err)
		}
	})
}

// TestWhatTheMachineRefusesIsRefused, and the agent may stop meanwhile.
func TestWhatTheMachineRefusesIsRefused(t *testing.T) {
	s := newStandby(t)
	s.refuses = &ha.Refusal{Reason: "a newer backup has come"}
	if _, err := s.Promote(t.Context(), PromotionRequest{}); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "newer backup") {
		t.Errorf("refused: %v", err)
	}
	s.refuses = nil
	id, err := s.Promote(t.Context(), PromotionRequest{})
	if err != nil {
		t.Fatal(err)
	}
	close(s.stopped)
	if _, err := s.WaitPromotion(t.Context(), id); !errors.Is(err, requests.ErrStopped) {
		t.Errorf("stopped: %v", err)
	}
}

// What a rehearsal left open is told in one order, each time that it is looked.
func TestWhatARehearsalLeftOpenIsTold(t *testing.T) {
	s := newStandby(t)
	s.rehearsal = &ha.Rehearsal{Backup: "newest", Result: ha.RehearsalDoubtful, Doubts: []string{"a file", "another"}, Unchecked: []string{"an index"}}
	for range 20 {
		p, err := s.Preflight(t.Context(), PromotionRequest{})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(p.Checks, func(c Check) bool { return c.Name == "rehearsal" })
		if i < 0 || !strings.HasSuffix(p.Checks[i].Detail, "; in doubt: a file; another; not checked: an index") {
			t.Fatalf("%+v", p.Checks)
		}
	}
}

// TestEachSourceHasItsRecoveryPoint: a failover brings a source back up to where its log is,
// an older backup as far as the backup goes, whatever the replica here has; and what the log
// has is not said to be lacking.
func TestEachSourceHasItsRecoveryPoint(t *testing.T) {
	s := newStandby(t)
	now := time.Now()
	s.newest.Time = now.Add(-3 * time.Minute)
	id := stream.ID{Epoch: 3, N: 1}
	s.head.Newest = &s.newest.Ref
	s.head.Streams = map[string]ha.Stream{"db": {ID: id, Tip: stream.Tip{Sequence: 2, To: 900, Time: now.Add(-time.Hour)}}}
	s.manifest.Sources = []source.Entry{{Name: "db"}, {Name: "uploads"}}
	if _, err := s.store.Write(t.Context(), ha.KindHead, ha.HeadKey, s.head, blobstore.Always); err != nil {
		t.Fatal(err)
	}
	s.host.Status = func() report.Status {
		return report.Status{Status: s.core, Instance: "b", Active: "a", HeadAge: 1,
			Streams:   []report.StreamStatus{{Source: "db", Replica: true, Stream: "3-1", Part: 2, Runs: true, Based: true}},
			Instances: []report.InstanceStatus{{Name: "a", Shipped: map[string]ha.ShippedLog{"db": {Stream: id, UpTo: now.Add(-20 * time.Second)}}}}}
	}
	points := func(req PromotionRequest) (Loss, string) {
		t.Helper()
		p, err := s.Preflight(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return p.Loss, report.PointsText(p.Loss.Sources)
	}
	loss, text := points(PromotionRequest{Mode: ha.ModeFailover})
	if !strings.HasPrefix(text, "db: 20s ago; uploads: 3m0s ago (backup)") || loss.Summary != "what came after the recovery point of each source" {
		t.Errorf("%q: %s", loss.Summary, text)
	}
	if _, text := points(PromotionRequest{Mode: ha.ModeFailover, WithoutLog: true}); !strings.HasPrefix(text, "db: 3m0s ago (backup: its log is given up") {
		t.Errorf("without the log: %s", text)
	}
	if loss, _ := points(PromotionRequest{Mode: ha.ModeSwitchover}); !strings.HasPrefix(loss.Summary, "nothing: ") {
		t.Error(loss.Summary)
	}

	s.newest.Newest, s.rehearsal = false, &ha.Rehearsal{Result: ha.RehearsalPassed, Took: ha.Duration(90 * time.Second)}
	info := control.BackupInfo{Ref: s.newest.Ref}
	older := s.points(s.host.Status(), s.head, info, false, s.manifest)
	if got := report.PointsText(older); got != "db: 3m0s ago (backup: its log is not applied to an older backup; the replica here is built anew, which took 1m30s when a backup was rehearsed last); uploads: 3m0s ago (backup)" {
		t.Error(got)
	}

	r := &Reported{Sources: []SourceReported{{Name: "db", Lacks: "3 MiB"}, {Name: "uploads", Lacks: "2 files"}}}
	if r.drop(loss.Sources); len(r.Sources) != 1 || r.Sources[0].Name != "uploads" {
		t.Errorf("the log of db has that: %+v", r.Sources)
	}
}

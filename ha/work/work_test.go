package work

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/sources"
	"github.com/understudy-ha/understudy/restore"
)

// fake is all that a Maker is given but a bucket and a cache.
type fake struct {
	now    ha.Now
	dir    string
	shared *ha.Config
	whole  error
	full   bool

	did      []string // in their order
	failed   int
	pulls    int
	troubles map[string]string
	files    map[string][]byte
}

func (f *fake) Now() ha.Now  { return f.now }
func (f *fake) Boot() string { return "" }
func (f *fake) Changed()     {}
func (f *fake) Note(_ context.Context, level event.Level, kind, text string, _ map[string]any) {
	f.did = append(f.did, string(level)+" "+kind+": "+text)
}
func (f *fake) Trouble(_ context.Context, kind, key, text string)  { f.troubles[kind+" "+key] = text }
func (f *fake) TroubleOver(_ context.Context, kind, key, _ string) { delete(f.troubles, kind+" "+key) }
func (f *fake) Attempt(time.Time)                                  { f.did = append(f.did, "attempt") }
func (f *fake) BackupFailed(time.Duration)                         { f.failed++ }
func (f *fake) BackupDone(time.Time, time.Duration, *backup.Manifest) {
	f.did = append(f.did, "done")
}
func (f *fake) Pull()                                      { f.pulls++ }
func (f *fake) PullFailed()                                { f.failed++ }
func (f *fake) KnownVersion(context.Context) string        { return "v1" }
func (f *fake) BeginBackup() (map[pack.Digest]bool, bool)  { return nil, f.full }
func (f *fake) NoteLost(context.Context, []pack.Info) bool { return true }
func (f *fake) StoredAgain(context.Context, bool)          { f.did = append(f.did, "stored again") }
func (f *fake) Complete(context.Context, *backup.Order)    {}
func (f *fake) Written(backup.Order)                       { f.did = append(f.did, "written") }
func (f *fake) Load(string, any) (bool, error)             { return false, nil }
func (f *fake) Save(name string, v any) (err error) {
	f.files[name], err = json.Marshal(v)
	return err
}

func (f *fake) AroundBackup(ha.MakeBackup) (before, after func(context.Context) error) {
	hook := func(name string) func(context.Context) error {
		return func(context.Context) error { f.did = append(f.did, name); return nil }
	}
	return hook("before"), hook("after")
}

func (f *fake) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, "file"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newMaker makes backups of a directory with one file, into a bucket in memory.
func newMaker(t *testing.T) (*fake, *Maker, *storetest.Memory) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	ring := sealtest.NewRing(t, random)
	f := &fake{
		now: ha.Now{Mono: time.Hour, Wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, dir: filepath.Join(t.TempDir(), "app"),
		troubles: map[string]string{}, files: map[string][]byte{},
	}
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f.write(t, "one")
	keys, err := seal.NewDataKeys(random)
	if err != nil {
		t.Fatal(err)
	}
	c := ha.DefaultConfig()
	if c.DataKey, err = ring.Wrap(keys, "c", random); err != nil {
		t.Fatal(err)
	}
	f.shared = &c
	src, err := directory.New("files", directory.Config{Path: f.dir})
	if err != nil {
		t.Fatal(err)
	}
	inForce := func() []source.Source { return []source.Source{src} }
	cache, err := restore.OpenCache(filepath.Join(t.TempDir(), "cache"), 3)
	if err != nil {
		t.Fatal(err)
	}
	volumes, err := sources.OpenVolumes(f)
	if err != nil {
		t.Fatal(err)
	}
	memory := storetest.NewMemory()
	store := control.New(control.Config{Store: memory, Ring: ring, Clock: f}, "c")
	return f, NewMaker(Config{
		Instance: "a", Version: "test", Cluster: "c", Ring: ring, Repo: store.Repository(), Cache: cache, Chain: store.Chain(),
		Clock: f, StoreTime: func() time.Time { return f.now.Wall }, Random: random, Log: f, Logger: slog.New(slog.DiscardHandler),
		Volumes: volumes, Changes: sources.NewChanges(f, volumes, inForce), Doubts: sources.NewDoubts(f, inForce), InForce: inForce,
		Progress: new(Progress), Counts: f, Application: f, Packs: f, Locks: f,
		Rules:  func(*ha.Config) retention.Policy { return retention.Policy{Keep: 48 * time.Hour} },
		Shared: func(context.Context, string) (*ha.Config, error) { return f.shared, nil },
		Whole:  func() error { return f.whole },
	}), memory
}

// first makes the first backup.
func first(t *testing.T, m *Maker) *backup.Ref {
	t.Helper()
	ref, changed, err := m.Backup(t.Context(), ha.MakeBackup{Epoch: 1, Sequence: 1, Trigger: backup.Scheduled})
	if err != nil || ref == nil || !changed {
		t.Fatal(ref, changed, err)
	}
	return ref
}

// A backup is made between its hooks, counted once it is written, and from then on it is
// known where the sources lie. A stopped application has no hooks.
func TestABackupIsMadeBetweenItsHooks(t *testing.T) {
	f, m, memory := newMaker(t)
	ref := first(t, m)
	if want := []string{"attempt", "before", "after", "written", "done"}; !slices.Equal(f.did, want) {
		t.Errorf("did %q, want %q", f.did, want)
	}
	if _, err := memory.Stat(t.Context(), ref.Key); err != nil || len(f.files) != 1 {
		t.Errorf("%v; kept %q", err, f.files)
	}
	f.did, f.full = nil, true
	if _, _, err := m.Backup(t.Context(), ha.MakeBackup{Epoch: 1, Sequence: 2, Previous: ref, Trigger: backup.Switchover}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"attempt", "written", "done", "stored again"}; !slices.Equal(f.did, want) {
		t.Errorf("did %q, want %q", f.did, want)
	}
}

// A backup that fails is counted as that. Of a source that changed beyond belief none is
// made until an operator confirms it, which counts once.
func TestABackupThatFailsIsCounted(t *testing.T) {
	f, m, _ := newMaker(t)
	more := filepath.Join(f.dir, "more")
	if err := os.Mkdir(more, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 120 {
		if err := os.WriteFile(filepath.Join(more, strconv.Itoa(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next := ha.MakeBackup{Epoch: 1, Sequence: 2, Previous: first(t, m), Trigger: backup.Scheduled}
	if err := os.RemoveAll(more); err != nil {
		t.Fatal(err)
	}
	var refused *backup.ChangedError
	if _, _, err := m.Backup(t.Context(), next); !errors.As(err, &refused) || f.failed != 1 || f.troubles["source change of files"] == "" {
		t.Fatalf("%v, %d failures, troubles %q", err, f.failed, f.troubles)
	}
	if _, err := m.cfg.Changes.Accept(t.Context(), nil, true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Backup(t.Context(), next); err != nil || len(f.troubles) != 0 || m.cfg.Changes.IsAccepted("files") {
		t.Errorf("confirmed: %v, troubles %q", err, f.troubles)
	}
	f.shared.DataKey = ""
	if _, _, err := m.Backup(t.Context(), next); err == nil || f.failed != 2 {
		t.Errorf("without a key: %v, %d failures", err, f.failed)
	}
}

// A salvage keeps what the successor does not have; what is the same is not kept again,
// and what is not whole is not kept at all.
func TestASalvageKeepsWhatTheSuccessorDoesNotHave(t *testing.T) {
	f, m, _ := newMaker(t)
	e := ha.MakeSalvage{Epoch: 1, Sequence: 2, Against: first(t, m)}
	if got, _, err := m.Salvage(t.Context(), e); err != nil || got != nil {
		t.Errorf("the same was kept: %v, %v", got, err)
	}
	f.write(t, "lost in the failover")
	f.did = nil
	if got, changed, err := m.Salvage(t.Context(), e); err != nil || got == nil || !got.IsSalvage() || !changed || slices.Contains(f.did, "before") {
		t.Errorf("%v, %v; did %q", got, err, f.did)
	}
	f.whole = errors.New("a swap is unfinished")
	if _, _, err := m.Salvage(t.Context(), e); !errors.Is(err, f.whole) {
		t.Errorf("what is not whole: %v", err)
	}
}

// A host that was set up anew has nothing to salvage, and says so.
func TestAHostWithoutAnythingHasNothingToSalvage(t *testing.T) {
	f, m, _ := newMaker(t)
	if err := os.RemoveAll(f.dir); err != nil {
		t.Fatal(err)
	}
	got, _, err := m.Salvage(t.Context(), ha.MakeSalvage{Epoch: 1, Sequence: 1})
	if err != nil || got != nil || !strings.Contains(strings.Join(f.did, "\n"), "nothing to salvage") {
		t.Errorf("%v, %v; told %q", got, err, f.did)
	}
}

// A pull is shown while it is under way, and counted when it failed, but not when it
// made way.
func TestAPullIsShownWhileItIsUnderWay(t *testing.T) {
	f, m, _ := newMaker(t)
	ref := *first(t, m)
	p := m.cfg.Progress
	c := NewCached(m.cfg.Cache, m.cfg.Repo, f, p, f)
	if err := c.Pull(t.Context(), ref); err != nil || !c.Has(ref.ID) || p.IsPulling() || p.Shown() != nil || f.pulls != 1 {
		t.Errorf("%v; cached %v; %d pulls", err, c.Refs(), f.pulls)
	}
	p.pull(&backup.Progress{Step: "pull"})
	if p.Set(backup.Progress{Step: "backup"}); p.Shown().Step != "backup" || !p.IsPulling() {
		t.Errorf("shown: %+v", p.Shown())
	}
	if p.Clear(); p.Shown().Step != "pull" {
		t.Errorf("shown: %+v", p.Shown())
	}
	other := ref
	other.ID, other.Key = strings.Replace(ref.ID, "2026", "2027", 1), strings.Replace(ref.Key, "2026", "2027", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Pull(ctx, other); err == nil || f.failed != 0 {
		t.Errorf("one that made way: %v, %d failures", err, f.failed)
	}
	if err := c.Pull(t.Context(), other); err == nil || f.failed != 1 {
		t.Errorf("%v, %d failures", err, f.failed)
	}
}

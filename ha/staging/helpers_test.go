package staging

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/restore"
)

// fake is what a Stage is given: a data folder, a probe, a clock, a log and counts.
type fake struct {
	t       *testing.T
	repo    *backup.Repository
	keys    seal.DataKeys
	random  *rand.ChaCha8
	dir     string // of the active's application
	live    string // of this host's
	last    *backup.Ref
	cache   *restore.Cache
	files   map[string][]byte
	now     ha.Now
	core    ha.Status
	changed chan struct{}

	verdict  error      // of the probe
	mu       sync.Mutex // of troubles
	probes   int
	noted    []string
	troubles map[string]string
	counted  map[string]int
	pulling  bool
}

func newFake(t *testing.T) *fake {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	keys, err := seal.NewDataKeys(random)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{
		t: t, keys: keys, random: random, dir: filepath.Join(t.TempDir(), "app"), live: filepath.Join(t.TempDir(), "app"),
		repo:  &backup.Repository{Store: storetest.NewMemory(), Ring: sealtest.NewRing(t, random), Cluster: "c"},
		files: map[string][]byte{}, now: ha.Now{Mono: time.Hour, Wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
		changed: make(chan struct{}), troubles: map[string]string{}, counted: map[string]int{},
	}
	for _, dir := range []string{f.dir, f.live} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if f.cache, err = restore.OpenCache(filepath.Join(t.TempDir(), "cache"), 10); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fake) source(path string) []source.Source {
	f.t.Helper()
	src, err := directory.New("files", directory.Config{Path: path})
	if err != nil {
		f.t.Fatal(err)
	}
	return []source.Source{src}
}

// backup makes one of an application that has text in a file.
func (f *fake) backup(text string) backup.Ref {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, "file"), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.now.Wall = f.now.Wall.Add(time.Minute)
	o := backup.Order{
		Epoch: 1, Sequence: 1, Previous: f.last, Trigger: backup.Scheduled, Instance: "a", Version: "test", Keys: f.keys,
		Sources: f.source(f.dir), Now: func() time.Time { return f.now.Wall }, Random: f.random,
	}
	if f.last != nil {
		o.Sequence = f.last.Sequence + 1
	}
	ref, _, err := f.repo.Write(f.t.Context(), o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.last = &ref
	if err := f.Pull(f.t.Context(), ref); err != nil {
		f.t.Fatal(err)
	}
	return ref
}

// has is what the file of this host's application says; "": there is none.
func (f *fake) has() string {
	text, _ := os.ReadFile(filepath.Join(f.live, "file"))
	return string(text)
}

// open is a Stage of a process that has just been started.
func (f *fake) open(leftovers func()) *Stage {
	f.t.Helper()
	all, err := OpenRehearsals(f)
	if err != nil {
		f.t.Fatal(err)
	}
	s := New(Config{
		Folder: filepath.Join(filepath.Dir(f.live), "swap"), Cache: f.cache, Repo: f.repo, Rehearsals: all, Clock: f, Log: log{f}, Judge: f,
		Backups: f, Progress: f, Counts: f, Leftovers: leftovers, Announce: func(_ string, do func() error) error { return do() },
	})
	if err := s.Open(f.source(f.live)); err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *fake) Now() ha.Now              { return f.now }
func (f *fake) Boot() string             { return "" }
func (f *fake) View() ha.Status          { return f.core }
func (f *fake) Set(backup.Progress)      {}
func (f *fake) Clear()                   {}
func (f *fake) IsPulling() bool          { return f.pulling }
func (f *fake) Rehearsal()               { f.counted["rehearsal"]++ }
func (f *fake) RehearsalFailed()         { f.counted["failed"]++ }
func (f *fake) StageDamaged(n int64)     { f.counted["damaged"] += int(n) }
func (f *fake) StageRotten()             { f.counted["rotten"]++ }
func (f *fake) Changed() <-chan struct{} { return f.changed }

func (f *fake) Probe(ctx context.Context, _ backup.Ref) (string, error) {
	f.probes++
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return "the probe", f.verdict
}

func (f *fake) Refs() []backup.Ref {
	refs, err := f.cache.List()
	if err != nil {
		f.t.Error(err)
	}
	return refs
}

func (f *fake) Pull(ctx context.Context, ref backup.Ref) error {
	return f.cache.Pull(ctx, f.repo, ref, func(backup.Progress) {})
}

func (f *fake) Load(name string, v any) (bool, error) {
	data, found := f.files[name]
	if !found {
		return false, nil
	}
	return true, json.Unmarshal(data, v)
}

func (f *fake) Save(name string, v any) (err error) {
	f.files[name], err = json.Marshal(v)
	return err
}

// log is the fake as it is told things.
type log struct{ *fake }

func (l log) Changed() {}

func (f *fake) Note(_ context.Context, level event.Level, _, text string, _ map[string]any) {
	f.noted = append(f.noted, string(level)+" "+text)
}
func (f *fake) Trouble(_ context.Context, kind, key, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.troubles[kind+" "+key] = text
}

func (f *fake) TroubleOver(_ context.Context, kind, key, _ string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.troubles, kind+" "+key)
}

func (f *fake) TroubleKeys(kind string) (keys []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.troubles {
		if len(name) > len(kind) && name[:len(kind)] == kind {
			keys = append(keys, name[len(kind)+1:])
		}
	}
	return keys
}

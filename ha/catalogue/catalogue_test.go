package catalogue

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/backup/source/directory"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/restore"
)

// fake is an instance that knows what a test says.
type fake struct {
	store  *storetest.Faulty
	memory *storetest.Memory
	cache  *restore.Cache
	damage map[string]string
	looked int
	wall   time.Time
}

func (f *fake) Now() ha.Now             { return ha.Now{Mono: time.Hour, Wall: f.wall} }
func (f *fake) Boot() string            { return "" }
func (f *fake) View() ha.Status         { return ha.Status{} }
func (f *fake) Damage(of string) string { return f.damage[of] }
func (f *fake) LookSoon()               { f.looked++ }
func (f *fake) Refs() []backup.Ref      { refs, _ := f.cache.List(); return refs }
func (f *fake) Has(id string) bool {
	return slices.ContainsFunc(f.Refs(), func(r backup.Ref) bool { return r.ID == id })
}

// newCatalogue is that of a cluster with two backups, the later one of which is cached.
func newCatalogue(t *testing.T) (*fake, *Catalogue, [2]backup.Ref) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	ring := sealtest.NewRing(t, random)
	keys, err := seal.NewDataKeys(random)
	if err != nil {
		t.Fatal(err)
	}
	memory := storetest.NewMemory()
	f := &fake{store: storetest.NewFaulty(memory), memory: memory, damage: map[string]string{}, wall: time.Now()}
	if f.cache, err = restore.OpenCache(filepath.Join(t.TempDir(), "cache"), 3); err != nil {
		t.Fatal(err)
	}
	store := control.New(control.Config{Store: f.store, Ring: ring, Clock: f}, "c")
	dir := t.TempDir()
	src, err := directory.New("files", directory.Config{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	var refs [2]backup.Ref
	var previous *backup.Ref
	for i := range refs {
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte{'a' + byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		f.wall = f.wall.Add(time.Minute)
		if refs[i], _, err = store.Repository().Write(t.Context(), backup.Order{
			Epoch: 1, Sequence: uint64(i + 1), Previous: previous, Trigger: backup.Scheduled, Instance: "a", Version: "test", Keys: keys,
			Sources: []source.Source{src}, Now: func() time.Time { return f.wall }, Random: random,
		}); err != nil {
			t.Fatal(err)
		}
		previous = &refs[i]
	}
	head := &ha.Head{Format: ha.Format, Cluster: "c", Epoch: 1, Rev: 1, Active: ha.Peer{Name: "a", Incarnation: "i"}, Newest: previous}
	if _, err := store.Write(t.Context(), ha.KindHead, ha.HeadKey, head, blobstore.Always); err != nil {
		t.Fatal(err)
	}
	if err := f.cache.Pull(t.Context(), store.Repository(), refs[1], func(backup.Progress) {}); err != nil {
		t.Fatal(err)
	}
	chain := control.NewChain(store, f.cache)
	return f, New(Config{
		Store: store, Chain: chain, AuditLog: control.NewAuditLog(chain), Repo: store.Repository(), Cache: f.cache, State: f, Cached: f,
		Packs: f, Objects: f, Keep: func(context.Context, string) time.Duration { return 0 },
		Rehearsals: func() map[string][]control.BackupRehearsal {
			return map[string][]control.BackupRehearsal{refs[1].ID: {{Instance: "b"}}}
		},
	}), refs
}

// What this instance knows of a backup stands beside what the bucket says.
func TestABackupIsListedWithWhatIsKnownOfIt(t *testing.T) {
	f, c, refs := newCatalogue(t)
	f.damage[refs[0].ID], f.damage[refs[1].Key] = "packs are gone", "its seal is broken"
	all, err := c.Backups(t.Context(), 0)
	if err != nil || len(all) != 2 || all[0].ID != refs[1].ID {
		t.Fatalf("%+v, %v", all, err)
	}
	if one := all[0]; !one.Cached || len(one.Rehearsals) != 1 || !strings.Contains(strings.Join(one.Warnings, "\n"), "its seal is broken") {
		t.Errorf("%+v", one)
	}
	if one := all[1]; one.Cached || len(one.Rehearsals) != 0 || !slices.Contains(one.Warnings, "packs are gone") {
		t.Errorf("%+v", one)
	}
	if f.looked == 0 {
		t.Error("nobody looks at the objects that are listed")
	}
}

// Without its bucket an instance lists what it has cached.
func TestWithoutTheBucketTheCacheIsListed(t *testing.T) {
	f, c, refs := newCatalogue(t)
	f.store.Inject(storetest.Fault{Op: storetest.Get, Key: "**", Times: storetest.Forever, Do: storetest.Fail(blobstore.ErrUnavailable)})
	all, err := c.Backups(t.Context(), 0)
	if err != nil || len(all) != 1 || all[0].ID != refs[1].ID || !all[0].Cached || all[0].Damaged != "" || len(all[0].Rehearsals) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
}

// A backup is verified, or compared, one at a time; packs that turn out to be gone are
// looked at soon.
func TestOneVerificationAtATime(t *testing.T) {
	f, c, refs := newCatalogue(t)
	if damage, err := c.Verify(t.Context(), "", true); err != nil || damage != "" {
		t.Fatalf("%q, %v", damage, err)
	}
	for attrs, err := range f.memory.List(t.Context(), "packs/", "") {
		if err != nil {
			t.Fatal(err)
		}
		if err := f.memory.Delete(t.Context(), attrs.Key); err != nil {
			t.Fatal(err)
		}
	}
	f.looked = 0
	if damage, err := c.Verify(t.Context(), refs[0].ID, false); err != nil || damage == "" || f.looked != 1 {
		t.Errorf("%q, %v, looked %d times", damage, err, f.looked)
	}
	c.verifying.Lock()
	defer c.verifying.Unlock()
	var refusal *ha.Refusal
	if _, err := c.Verify(t.Context(), "", false); !errors.As(err, &refusal) || !strings.Contains(refusal.Reason, "compared") {
		t.Errorf("a verification beside another one: %v", err)
	}
	if _, err := c.Diff(t.Context(), refs[0].ID, refs[1].ID); !errors.As(err, &refusal) {
		t.Errorf("a comparison beside a verification: %v", err)
	}
}

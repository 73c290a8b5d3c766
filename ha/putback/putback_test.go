package putback

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/shared"
)

// instance is one whose bucket shows a head of epoch 3, and that has seen one of epoch 5.
type instance struct {
	*Recovery
	t       *testing.T
	store   *control.Store
	core    ha.Status
	others  []ha.Sighting
	asked   []ha.Recover
	refused error
}

func (i *instance) Do(_ context.Context, of func(string) ha.Event) (*backup.Ref, error) {
	i.asked = append(i.asked, of("id").(ha.Recover))
	i.core.Seen.Epoch = i.asked[0].Epoch + 1
	return nil, i.refused
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	ring := sealtest.NewRing(t, rand.Reader)
	i := &instance{t: t}
	memory := storetest.NewMemory()
	i.store = control.New(control.Config{Store: memory, Ring: ring, Timeout: time.Minute}, "one")
	dir, err := datadir.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	c := ha.DefaultConfig()
	c.Format, c.Cluster, c.Frequency = ha.Format, "one", ha.Duration(7*time.Minute)
	keys, err := seal.NewDataKeys(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if c.DataKey, err = ring.Wrap(keys, "one", rand.Reader); err != nil {
		t.Fatal(err)
	}
	digest, err := control.DigestOf(&c)
	if err != nil {
		t.Fatal(err)
	}
	configs := shared.NewConfigs(i.store, dir) // only this host knows what was in force
	if err := configs.Use(digest, &c); err != nil {
		t.Fatal(err)
	}
	shown := &ha.Head{Format: ha.Format, Cluster: "one", Epoch: 3, Rev: 8, Nonce: "old", Active: ha.Peer{Name: "a"}, Config: "lost"}
	seen := *shown
	seen.Epoch, seen.Rev, seen.Nonce, seen.Active, seen.Config = 5, 2, "new", ha.Peer{Name: "b"}, digest
	seen.Newest = &backup.Ref{ID: "20260304T050607Z-e00000005-s00000004-aa", Epoch: 5, Sequence: 4}
	i.put(ha.KindHead, ha.HeadKey, shown)
	i.core.Older, i.core.Seen = &ha.OlderHead{Head: shown, Seen: &seen}, seen.Position()
	i.Recovery = New(Host{
		Store: memory, Control: i.store, Cached: func() []backup.Ref { return nil }, Configs: configs,
		Records: shared.NewRecords(i.store, clock.System(), func() *ha.Head { return nil }), View: func() ha.Status { return i.core },
		Survey: func(context.Context) ([]ha.Sighting, error) { return i.others, nil }, Asking: i,
		Lock: func() blobstore.Lock { return blobstore.Lock{} },
	})
	return i
}

func (i *instance) put(kind ha.Kind, key string, object any) {
	i.t.Helper()
	if _, err := i.store.Write(i.t.Context(), kind, key, object, blobstore.Always); err != nil {
		i.t.Fatal(err)
	}
}

// TestThereIsNothingToRecoverFromWithoutAnOlderHead.
func TestThereIsNothingToRecoverFromWithoutAnOlderHead(t *testing.T) {
	i := newInstance(t)
	i.core.Older = nil
	if p, err := i.PlanRecovery(t.Context(), nil); err != nil || p.Needed {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := i.RecoverBucket(t.Context(), RecoveryRequest{}); !ha.IsRefusal(err) || len(i.asked) != 0 {
		t.Errorf("%v, asked for %+v", err, i.asked)
	}
}

// TestNobodyIsAskedWhileSomebodySeesANewerHead, or cannot say what it sees, or the operator
// was shown another head.
func TestNobodyIsAskedWhileSomebodySeesANewerHead(t *testing.T) {
	i := newInstance(t)
	at := i.core.Older.Head.Position()
	newer := i.core.Older.Seen.Position()
	for name, c := range map[string]struct {
		other ha.Sighting
		rev   uint64
		says  string
	}{
		"sees a newer one": {ha.Sighting{Instance: "c", Shown: &newer}, 8, "still sees a newer head"},
		"cannot be asked":  {ha.Sighting{Instance: "c", Error: "no route"}, 8, "--without c"},
		"was shown more":   {ha.Sighting{Instance: "c", Shown: &at}, 9, "look again"},
	} {
		i.others = []ha.Sighting{c.other}
		_, err := i.RecoverBucket(t.Context(), RecoveryRequest{Epoch: 3, Rev: c.rev})
		if !ha.IsRefusal(err) || !strings.Contains(err.Error(), c.says) || len(i.asked) != 0 {
			t.Errorf("%s: %v, asked for %+v", name, err, i.asked)
		}
	}
}

// TestWhatIsAskedForIsWhatWasPlanned: above every epoch that the bucket tells of, with the
// configuration that only this host knows put back, and with what is lost said.
func TestWhatIsAskedForIsWhatWasPlanned(t *testing.T) {
	i := newInstance(t)
	at := i.core.Older.Head.Position()
	i.others = []ha.Sighting{{Instance: "c", Shown: &at}, {Instance: "gone", Error: "no route"}}
	i.put(ha.KindMarker, ha.MarkerKey(9), &ha.Marker{Format: ha.Format, Cluster: "one", Epoch: 9})
	plan, err := i.PlanRecovery(t.Context(), []string{"gone"})
	if err != nil || plan.Refused != "" || plan.Missing != 4 || plan.Active != "b" || len(plan.Instances) != 2 {
		t.Fatalf("%+v, %v", plan, err)
	}
	if len(plan.Lost) != 1 || !strings.Contains(plan.Lost[0], "the markers of 2 promotions") {
		t.Errorf("lost: %q", plan.Lost)
	}
	if len(i.asked) != 0 {
		t.Fatal("a plan changes something")
	}
	done, err := i.RecoverBucket(event.WithActor(t.Context(), "op"), RecoveryRequest{Epoch: 3, Rev: 8, Without: []string{"gone"}, Reason: "fire"})
	if err != nil || done.Epoch != 10 {
		t.Fatalf("%+v, %v", done, err)
	}
	ask, seen := i.asked[0], i.core.Older.Seen
	if ask.By != "op" || ask.Reason != "fire" || !slices.Equal(ask.Unasked, []string{"gone"}) || ask.Epoch != 9 || ask.Missing != 4 || ask.Config != seen.Config {
		t.Errorf("asked for %+v", ask)
	}
	if c, err := i.store.ConfigWith(t.Context(), seen.Config); err != nil || time.Duration(c.Frequency) != 7*time.Minute {
		t.Errorf("the configuration in the bucket: %+v, %v", c, err)
	}
	i.refused = errors.New("another head")
	if _, err := i.RecoverBucket(t.Context(), RecoveryRequest{Epoch: 3, Rev: 8, Without: []string{"gone"}}); !errors.Is(err, i.refused) {
		t.Errorf("the machine refuses: %v", err)
	}
}

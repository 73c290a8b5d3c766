package control

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
)

// made is the store of a cluster in which nothing has happened yet.
func made(t testing.TB, memory blobstore.Store, ring *seal.Ring) *Store {
	t.Helper()
	s := New(Config{Store: memory, Ring: ring}, "one")
	config := ha.DefaultConfig()
	config.Cluster = "one"
	digest, err := s.PutConfig(t.Context(), &config)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, ha.KindCluster, ha.ClusterKey, &ha.Cluster{Format: ha.Format, ID: "one"})
	put(t, s, ha.KindHead, ha.HeadKey, &ha.Head{Format: ha.Format, Cluster: "one", Epoch: 1, Rev: 1, Active: ha.Peer{Name: "a"}, Config: digest})
	return s
}

func put(t testing.TB, s *Store, kind ha.Kind, key string, object any) {
	t.Helper()
	if _, err := s.Write(t.Context(), kind, key, object, blobstore.Always); err != nil {
		t.Fatal(err)
	}
}

// A cluster's bucket is read by whoever has the key, and by nobody else.
func TestAControlStoreIsOpenedByItsKey(t *testing.T) {
	memory, ring := storetest.NewMemory(), newRing(t)
	if _, _, err := Open(t.Context(), Config{Store: memory, Ring: ring}); !errors.Is(err, ErrBucket) {
		t.Errorf("an empty bucket: %v", err)
	}
	made(t, memory, ring)
	s, cluster, err := Open(t.Context(), Config{Store: memory, Ring: ring})
	if err != nil || cluster.ID != "one" || s.Cluster() != "one" {
		t.Fatalf("%+v, %v", cluster, err)
	}
	h, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := s.Config(t.Context(), h); err != nil || c.Retention != ha.DefaultConfig().Retention {
		t.Errorf("%+v, %v", c, err)
	}
	if _, _, err := Open(t.Context(), Config{Store: memory, Ring: newRing(t)}); !errors.Is(err, ErrUnverified) {
		t.Errorf("by another key: %v", err)
	}
}

// A head that is older than one that was seen is told of, and what that returns counts.
func TestAnOlderHeadIsNotReadUnseen(t *testing.T) {
	s := made(t, storetest.NewMemory(), newRing(t))
	refused := errors.New("older")
	s.CompareWith(ha.Position{Epoch: 1, Rev: 5}, func(string) error { return refused })
	if _, err := s.Head(t.Context()); !errors.Is(err, refused) {
		t.Errorf("read all the same: %v", err)
	}
}

// An object is signed again, once, by the key that is active; a lease that is held is not.
func TestAnObjectIsSignedAgainByTheActiveKey(t *testing.T) {
	memory, old := storetest.NewMemory(), newRing(t)
	before := made(t, memory, old)
	put(t, before, ha.KindLease, ha.LeaseKey, &ha.Lease{Format: ha.Format, Cluster: "one", Epoch: 1})
	key, err := seal.Generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	both, err := old.Add(key)
	if err == nil {
		both, err = both.Activate(key.ID())
	}
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Store: memory, Ring: both}, "one")
	for _, c := range []struct {
		kind ha.Kind
		key  string
		want bool
	}{
		{ha.KindCluster, ha.ClusterKey, true}, {ha.KindCluster, ha.ClusterKey, false},
		{ha.KindLease, ha.LeaseKey, false}, {ha.KindMarker, ha.MarkerKey(9), false},
	} {
		if did, err := s.Resign(t.Context(), c.kind, c.key); err != nil || did != c.want {
			t.Errorf("%s: %v, %v", c.key, did, err)
		}
	}
}

// What is missing or forged is put back, and what is right is left alone.
func TestClusterAndConfigurationArePutBack(t *testing.T) {
	memory := storetest.NewMemory()
	s := made(t, memory, newRing(t))
	cluster := ha.Cluster{Format: ha.Format, ID: "one"}
	h, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config, err := s.Config(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	again := func(what string, want bool) {
		t.Helper()
		if back, err := s.PutClusterBack(t.Context(), cluster); err != nil || back != want {
			t.Errorf("%s: the cluster: %v, %v", what, back, err)
		}
		if _, back, err := s.PutConfigBack(t.Context(), h.Config, config, ""); err != nil || back != want {
			t.Errorf("%s: the configuration: %v, %v", what, back, err)
		}
	}
	again("whole", false)
	for _, key := range []string{ha.ClusterKey, ha.ConfigKey(h.Config)} {
		if err := s.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	again("removed", true)
	for _, key := range []string{ha.ClusterKey, ha.ConfigKey(h.Config)} {
		if err := raw(t, memory, key, []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	again("forged", true)
	again("put back", false)
}

// The audit log comes in pages, newest first, and shows what nobody has signed as that.
func TestTheAuditLogComesInPages(t *testing.T) {
	memory := storetest.NewMemory()
	s := made(t, memory, newRing(t))
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for epoch := uint64(2); epoch < 5; epoch++ {
		put(t, s, ha.KindMarker, ha.MarkerKey(epoch), &ha.Marker{Format: ha.Format, Cluster: "one", Epoch: epoch, Active: ha.Peer{Name: "b"}, Time: at})
	}
	if err := raw(t, memory, ha.MarkerKey(9), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	var epochs []uint64
	for next, log := "", s.AuditLog(); ; {
		page, err := log.Page(t.Context(), next, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			kinds, epochs = append(kinds, e.Kind), append(epochs, e.Epoch)
		}
		if next = page.Next; next == "" {
			break
		}
	}
	want := []string{UnverifiedKind, PromotionKind, PromotionKind, PromotionKind, ClusterKind}
	if len(kinds) != len(want) {
		t.Fatalf("%v of %v", kinds, epochs)
	}
	for i, kind := range want {
		if kinds[i] != kind || i > 0 && epochs[i] >= epochs[i-1] {
			t.Errorf("%d: %s of epoch %d", i, kinds[i], epochs[i])
		}
	}
}

// What the bucket's rules must be is the configuration's, and an earlier one's longer
// reuse window for as long as that is needed.
func TestAnEarlierReuseWindowCountsOn(t *testing.T) {
	s := made(t, storetest.NewMemory(), newRing(t))
	shorter := ha.DefaultConfig()
	shorter.Cluster, shorter.ReuseWindow = "one", shorter.ReuseWindow/2
	digest, err := s.PutConfig(t.Context(), &shorter)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, ha.KindHead, ha.HeadKey, &ha.Head{Format: ha.Format, Cluster: "one", Epoch: 1, Rev: 2, Active: ha.Peer{Name: "a"}, Config: digest})
	p, err := s.Promise(t.Context())
	if err != nil || p.Until.IsZero() || p.Rules.Reuse <= p.Configured.Reuse || p.Configured.Reuse != time.Duration(shorter.ReuseWindow) {
		t.Errorf("%+v, %v", p, err)
	}
}

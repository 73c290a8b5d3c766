package membership

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
)

// fake is a standby.
type fake struct {
	view   ha.Status
	config *ha.Config
	told   []string
}

func (f *fake) View() ha.Status     { return f.view }
func (f *fake) Record() ha.Instance { return ha.Instance{Role: ha.RoleStandby, Epoch: 1} }
func (f *fake) ConfigWith(context.Context, string) (*ha.Config, error) {
	return f.config, nil
}
func (f *fake) Trouble(_ context.Context, kind, key, text string) {
	f.told = append(f.told, kind+" "+key+": "+text)
}
func (f *fake) TroubleOver(context.Context, string, string, string) {}

// bucket is one cluster's, in memory, of which a is the active.
type bucket struct {
	t      *testing.T
	memory *storetest.Memory
	config control.Config
	store  *control.Store
}

func newBucket(t *testing.T) *bucket {
	t.Helper()
	ring := sealtest.NewRing(t, rand.Reader)
	b := &bucket{t: t, memory: storetest.NewMemory()}
	b.config = control.Config{Store: b.memory, Ring: ring, Timeout: time.Minute}
	b.store = control.New(b.config, "one")
	b.put(ha.KindCluster, ha.ClusterKey, &ha.Cluster{Format: ha.Format, ID: "one"})
	b.put(ha.KindHead, ha.HeadKey, &ha.Head{Format: ha.Format, Cluster: "one", Epoch: 1, Rev: 1, Active: ha.Peer{Name: "a"}})
	return b
}

func (b *bucket) put(kind ha.Kind, key string, object any) {
	b.t.Helper()
	if _, err := b.store.Write(b.t.Context(), kind, key, object, blobstore.Always); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bucket) registrar(incarnation string, known ...string) *Registrar {
	return NewRegistrar(b.store, ha.Peer{Name: "b", URL: "http://b", Incarnation: incarnation}, known, rand.Reader)
}

// admission is that of instance b, with the incarnation "now".
func (b *bucket) admission(f *fake, begun ha.Journal) *Admission {
	return NewAdmission(Host{
		Self: ha.Peer{Name: "b", Incarnation: "now"}, Begun: begun, Folder: "/data", Config: b.config, Control: b.store, Clock: clock.System(),
		Random: rand.Reader, Log: f, Instance: f, Opened: func(*ha.Cluster) {}, Allow: func(*ha.Head) error { return nil },
	})
}

// A name is its data folder's, until it is taken over.
func TestANameIsItsDataFoldersOwn(t *testing.T) {
	b := newBucket(t)
	rec := ha.Instance{Role: ha.RoleStandby}
	if err := b.registrar("one").Take(t.Context(), rec, true, false); err != nil {
		t.Fatal(err)
	}
	if err := b.registrar("two").Take(t.Context(), rec, true, false); !ha.IsRefusal(err) || !strings.Contains(err.Error(), "incarnation one") {
		t.Errorf("somebody else's: %v", err)
	}
	if err := b.registrar("two", "one").Take(t.Context(), rec, false, false); err != nil {
		t.Errorf("its own, after a restart: %v", err)
	}
	if err := b.registrar("three").Take(t.Context(), rec, true, true); err != nil {
		t.Errorf("taken over: %v", err)
	}
	if err := b.registrar("two").Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Instance(t.Context(), "b"); err != nil {
		t.Errorf("it removed another one's record: %v", err)
	}
	if all, err := b.registrar("two").AtItsURL(t.Context()); err != nil || len(all) == 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// A write of which nobody knows whether it landed is resolved by its nonce.
func TestARecordWhoseAnswerIsLostIsWrittenOnce(t *testing.T) {
	b := newBucket(t)
	faulty := storetest.NewFaulty(b.memory)
	b.config.Store = faulty
	b.store = control.New(b.config, "one")
	faulty.Inject(storetest.Fault{Op: storetest.Put, Key: ha.InstanceKey("b"), Times: 1, Do: storetest.LoseAnswer()})
	if err := b.registrar("one").Take(t.Context(), ha.Instance{Role: ha.RoleStandby}, true, false); err != nil {
		t.Fatal(err)
	}
	if rec, err := b.store.Instance(t.Context(), "b"); err != nil || rec.Incarnation != "one" {
		t.Errorf("%+v, %v", rec, err)
	}
}

// Who waits for admission learns why there is none; an instance that was removed has to
// join again.
func TestAnInstanceThatWasRemovedIsNotAdmitted(t *testing.T) {
	b, f := newBucket(t), &fake{config: &ha.Config{Instances: []ha.Member{{Name: "b", Removed: true}}}}
	m := b.admission(f, ha.Journal{})
	err := m.Admit(t.Context(), ha.RoleStandby)
	if waited := m.Await(t.Context()); !ha.IsRefusal(err) || !ha.IsRefusal(waited) || m.IsAdmitted() {
		t.Errorf("%v, %v", err, waited)
	}
	f.config = &ha.Config{}
	if err := m.Admit(t.Context(), ha.RoleStandby); err != nil || m.Await(t.Context()) != nil || !m.IsAdmitted() {
		t.Errorf("it is not admitted: %v", err)
	}
}

// One whose name is another's, and that owes something, runs on without a record, in red.
func TestAnInstanceThatOwesGoesOnWithoutARecord(t *testing.T) {
	b, f := newBucket(t), &fake{config: &ha.Config{}}
	if err := b.registrar("another").Take(t.Context(), ha.Instance{}, true, false); err != nil {
		t.Fatal(err)
	}
	if err := b.admission(f, ha.Journal{}).Admit(t.Context(), ha.RoleStandby); !ha.IsRefusal(err) {
		t.Errorf("one that owes nothing: %v", err)
	}
	m := b.admission(f, ha.Journal{Demotion: &ha.Demotion{}})
	if err := m.Admit(t.Context(), ha.RoleStandby); err != nil || !m.Muted() {
		t.Fatalf("it is kept from running: %v", err)
	}
	f.view = ha.Status{Head: &ha.Head{}}
	if err := m.PutRecord(t.Context(), ha.Instance{}); !ha.IsRefusal(err) {
		t.Errorf("once it owes nothing: %v", err)
	}
}

// A copy knows its original's incarnation, and could take that one's record for its own.
func TestARefusedInstanceLeavesTheRecordAlone(t *testing.T) {
	b, f := newBucket(t), &fake{config: &ha.Config{}}
	if err := b.registrar("original").Take(t.Context(), ha.Instance{}, true, false); err != nil {
		t.Fatal(err)
	}
	m := b.admission(f, ha.Journal{Incarnations: []string{"original"}})
	writtenBy := func() string {
		t.Helper()
		if err := m.PutRecord(t.Context(), ha.Instance{}); err != nil {
			t.Fatal(err)
		}
		rec, err := b.store.Instance(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		return rec.Incarnation
	}
	f.view = ha.Status{Head: &ha.Head{}, Refused: "the head is another's"}
	if by := writtenBy(); by != "original" {
		t.Errorf("one that is refused has written the record: it is %s's", by)
	}
	f.view = ha.Status{Head: &ha.Head{}}
	if by := writtenBy(); by == "original" {
		t.Error("once the head is another instance's, it is a standby, and does not say so")
	}
}

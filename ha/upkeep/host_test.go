package upkeep

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/pack"
	"github.com/understudy-ha/understudy/backup/retention"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
)

// fake is an instance that leads, and writes down what it is told.
type fake struct {
	memory *storetest.Memory
	now    ha.Now
	view   ha.Status
	digest string
	config *ha.Config
	told   []string
}

func (f *fake) Now() ha.Now                  { return f.now }
func (f *fake) Boot() string                 { return "" }
func (f *fake) View() ha.Status              { return f.view }
func (f *fake) Config() (string, *ha.Config) { return f.digest, f.config }
func (f *fake) ConfigWith(context.Context, string) (*ha.Config, error) {
	return f.config, nil
}
func (f *fake) Note(_ context.Context, level event.Level, kind, text string, _ map[string]any) {
	f.told = append(f.told, fmt.Sprintf("%v %s: %s", level, kind, text))
}
func (f *fake) Trouble(_ context.Context, kind, key, text string) {
	f.told = append(f.told, "trouble "+kind+" "+key+": "+text)
}
func (f *fake) TroubleOver(context.Context, string, string, string) {}
func (f *fake) Changed()                                            {}
func (f *fake) Forget(map[string]bool)                              {}

var _ clock.Clock = (*fake)(nil)

// says reports whether it was told of something.
func (f *fake) says(text string) bool { return strings.Contains(strings.Join(f.told, "\n"), text) }

// newHost is the active of a cluster in memory.
func newHost(t *testing.T) (*fake, Host) {
	t.Helper()
	ring := sealtest.NewRing(t, rand.Reader)
	self := ha.Peer{Name: "a", Incarnation: "i"}
	f := &fake{memory: storetest.NewMemory(), now: ha.Now{Mono: time.Hour, Wall: time.Now()}}
	s := control.New(control.Config{Store: f.memory, Ring: ring, Clock: f}, "one")
	c := ha.DefaultConfig()
	c.Cluster = "one"
	var err error
	if f.digest, err = s.PutConfig(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	f.config = &c
	head := &ha.Head{Format: ha.Format, Cluster: "one", Epoch: 1, Rev: 1, Active: self, Config: f.digest}
	if _, err := s.Write(t.Context(), ha.KindHead, ha.HeadKey, head, blobstore.Always); err != nil {
		t.Fatal(err)
	}
	f.view = ha.Status{Leading: true, Head: head, Bucket: "ok"}
	return f, Host{
		Self: self, Store: f.memory, Control: s, Chain: s.Chain(), Repo: s.Repository(),
		Clock: f, Timeout: time.Minute, Logger: slog.New(slog.DiscardHandler), Cluster: f, Log: f,
	}
}

// A rule that would delete control objects is an alarm, once.
func TestARuleThatDeletesControlObjectsIsAnAlarm(t *testing.T) {
	f, h := newHost(t)
	if err := f.memory.SetRules(t.Context(), append(retention.Policy{}.Rules(), blobstore.Rule{Name: "all", Days: 3})); err != nil {
		t.Fatal(err)
	}
	r := NewRules(h, f.memory, NewLocks(h))
	for range 3 {
		r.Turn(t.Context())
	}
	if len(f.told) != 1 || !f.says("deletes control objects") {
		t.Errorf("told %q", f.told)
	}
	if s := r.Status(f.config); len(s.Problems) == 0 {
		t.Errorf("%+v", s)
	}
}

// What checks of the store have left behind goes a day later, and not from an instance
// that the head does not name.
func TestAnInstanceThatTheHeadDoesNotNameSweepsNothing(t *testing.T) {
	f, h := newHost(t)
	if _, err := f.memory.Put(t.Context(), control.ScratchPrefix+"x", []byte("x"), blobstore.Always); err != nil {
		t.Fatal(err)
	}
	f.now.Mono += 2 * control.ScratchLife
	f.now.Boot += 2 * control.ScratchLife
	other := h
	other.Self.Incarnation = "another"
	if err := NewSweeper(other, NewRules(other, nil, NewLocks(other))).Sweep(t.Context()); err == nil {
		t.Error("a copy has swept")
	}
	if _, err := f.memory.Stat(t.Context(), control.ScratchPrefix+"x"); err != nil {
		t.Fatal(err)
	}
	if err := NewSweeper(h, NewRules(h, nil, NewLocks(h))).Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.memory.Stat(t.Context(), control.ScratchPrefix+"x"); err == nil {
		t.Error("it is there still")
	}
}

// cluster.json that somebody deleted is written again, and told.
func TestTheClusterObjectIsWrittenAgain(t *testing.T) {
	f, h := newHost(t)
	o := NewObjects(h, NewRules(h, nil, NewLocks(h)), NewLocks(h), f)
	o.Remember(&ha.Cluster{Format: ha.Format, ID: "one"})
	o.Turn(t.Context())
	if !f.says(ha.ClusterKey + " was missing") {
		t.Errorf("told %q", f.told)
	}
	told := len(f.told)
	o.Turn(t.Context())
	if _, err := f.memory.Stat(t.Context(), ha.ClusterKey); err != nil || len(f.told) != told {
		t.Errorf("%v; told %q", err, f.told)
	}
}

// What is missing counts until it is back, or a backup does without it.
func TestWhatIsMissingIsNewsOnce(t *testing.T) {
	l := newLost()
	one, two := pack.Info{Digest: pack.Digest{1}}, pack.Info{Digest: pack.Digest{2}}
	if !l.add([]pack.Info{one, two}) || l.add([]pack.Info{one}) || l.isWhole() {
		t.Error("missing packs are no news, or news twice")
	}
	l.noteHit("x", 1)
	if l.Damage("x") == "" || len(l.Hit()) != 1 || l.isToCheck("x") || !l.isToCheck("y") {
		t.Errorf("hit %q", l.Hit())
	}
	if news, hit := l.settle(false); !news || hit != 1 || !l.isWhole() {
		t.Errorf("%v, %d hit", news, hit)
	}
	if left := l.back(one.Digest); left != 1 || len(l.Hit()) != 0 || !l.isToCheck("x") {
		t.Errorf("%d are left, hit %q", left, l.Hit())
	}
	l.RequireFull()
	if gone, full := l.BeginBackup(); !full || !gone[two.Digest] || gone[one.Digest] {
		t.Errorf("%v, %v", gone, full)
	}
}

package shared

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/backup/seal/sealtest"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/blobstore/storetest"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/clock"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/datadir"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/webhook"
)

// active is an active whose machine takes what it is asked for, unless it refuses.
type active struct {
	*Shared
	t       *testing.T
	memory  *storetest.Memory
	store   *control.Store
	configs *Configs
	head    *ha.Head
	refused error // of whatever only an active does
	strict  error // of strict fencing
	asked   []ha.SetConfig
	told    []string
}

func (a *active) AwaitLook(context.Context) {}
func (a *active) OnlyActive(string) error   { return a.refused }
func (a *active) Do(_ context.Context, of func(string) ha.Event) (*backup.Ref, error) {
	ev := of("id").(ha.SetConfig)
	a.asked = append(a.asked, ev)
	a.head.Config = ev.Digest
	return nil, nil
}

func (a *active) Note(_ context.Context, level event.Level, kind, text string, _ map[string]any) {
	a.told = append(a.told, string(level)+" "+kind+": "+text)
}
func (a *active) Trouble(ctx context.Context, kind, _, text string) {
	a.Note(ctx, "trouble", kind, text, nil)
}
func (a *active) TroubleOver(ctx context.Context, kind, _, text string) {
	a.Note(ctx, "over", kind, text, nil)
}
func (a *active) Changed() {}

// newActive has a configuration in its bucket, which it knows if known says so.
func newActive(t *testing.T, known bool) *active {
	t.Helper()
	ring := sealtest.NewRing(t, rand.Reader)
	a := &active{t: t, memory: storetest.NewMemory(), head: &ha.Head{Active: ha.Peer{Name: "a"}}}
	a.store = control.New(control.Config{Store: a.memory, Ring: ring, Timeout: time.Minute}, "one")
	keys, err := seal.NewDataKeys(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := ha.DefaultConfig()
	c.Format, c.Cluster = ha.Format, "one"
	if c.DataKey, err = ring.Wrap(keys, "one", rand.Reader); err != nil {
		t.Fatal(err)
	}
	dir, err := datadir.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	a.configs = NewConfigs(a.store, dir)
	if a.head.Config, err = a.configs.Put(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	if known {
		if err := a.configs.Use(a.head.Config, &c); err != nil {
			t.Fatal(err)
		}
	}
	a.Shared = New(Host{
		Asking: a, View: func() ha.Status { return ha.Status{Role: ha.RoleActive, Leading: true, Head: a.head} }, Configs: a.configs,
		Records: NewRecords(a.store, clock.System(), func() *ha.Head { return a.head }), Control: a.store, Poll: 10 * time.Second,
		Random: rand.Reader, Ring: ring, Log: a, AllowStrict: func(context.Context, *ha.Config) error { return a.strict },
	})
	return a
}

// inBucket is the configuration that the head names, as the bucket has it.
func (a *active) inBucket() *ha.Config {
	a.t.Helper()
	c, err := a.store.ConfigWith(a.t.Context(), a.head.Config)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// join puts an instance's record into the bucket.
func (a *active) join(name, url string) {
	a.t.Helper()
	rec := &ha.Instance{Format: ha.Format, Cluster: "one", Name: name, URL: url, Incarnation: name + "1"}
	if _, err := a.store.Write(a.t.Context(), ha.KindInstance, ha.InstanceKey(name), rec, blobstore.Always); err != nil {
		a.t.Fatal(err)
	}
}

// TestSettingsComeIntoForceTogetherOrNotAtAll.
func TestSettingsComeIntoForceTogetherOrNotAtAll(t *testing.T) {
	a := newActive(t, true)
	before := a.head.Config
	for _, bad := range []map[string]string{{"frequency": "10m", "ttl": "soon"}, {"frequency": "1s"}, {"speed": "fast"}} {
		if err := a.SetConfig(t.Context(), bad); !errors.Is(err, ha.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	a.refused = &ha.Refusal{Reason: "b is the active"}
	if err := a.SetConfig(t.Context(), map[string]string{"frequency": "10m"}); !errors.Is(err, a.refused) {
		t.Errorf("on a standby: %v", err)
	}
	if a.refused = nil; a.head.Config != before || len(a.asked)+len(a.told) != 0 {
		t.Fatalf("asked for %+v, told %q", a.asked, a.told)
	}
	if err := a.SetConfig(t.Context(), map[string]string{"frequency": "10m", "retention": "30d"}); err != nil {
		t.Fatal(err)
	}
	c := a.inBucket()
	if time.Duration(c.Frequency) != 10*time.Minute || time.Duration(c.Retention) != 30*24*time.Hour || a.asked[0].Frequency != c.Frequency {
		t.Errorf("in force: %v, %v; asked for %+v", c.Frequency, c.Retention, a.asked)
	}
	if digest, now := a.configs.Current(); digest != a.head.Config || now.Frequency != c.Frequency {
		t.Errorf("known here: %s, %v", digest, now.Frequency)
	}
	if len(a.told) != 1 || !strings.Contains(a.told[0], "frequency was changed from 5m0s to 10m0s, retention was changed") {
		t.Errorf("told %q", a.told)
	}
}

// TestStrictFencingAsksTheOthersOnce: when it is turned on, not at every change.
func TestStrictFencingAsksTheOthersOnce(t *testing.T) {
	a := newActive(t, true)
	a.strict = &ha.Refusal{Reason: "b cannot stop it"}
	if err := a.SetConfig(t.Context(), map[string]string{"fencing": "strict"}); !errors.Is(err, a.strict) || len(a.asked) != 0 {
		t.Errorf("%v, asked for %+v", err, a.asked)
	}
	a.strict = nil
	if err := a.SetConfig(t.Context(), map[string]string{"fencing": "strict"}); err != nil || a.asked[0].Fencing.Mode != ha.Strict {
		t.Fatalf("%v, asked for %+v", err, a.asked)
	}
	a.strict = errors.New("asked again")
	if err := a.SetConfig(t.Context(), map[string]string{"frequency": "10m"}); err != nil {
		t.Error(err)
	}
}

// TestARemovedInstanceStaysRemovedUntilItHasARecordAgain.
func TestARemovedInstanceStaysRemovedUntilItHasARecordAgain(t *testing.T) {
	a := newActive(t, true)
	a.join("b", "https://b")
	if err := errors.Join(a.AddInstance(t.Context(), "https://b/"), a.AddInstance(t.Context(), "https://c")); err != nil {
		t.Fatal(err)
	}
	if err := a.RemoveInstance(t.Context(), "a"); !ha.IsRefusal(err) {
		t.Errorf("the active: %v", err)
	}
	if err := a.RemoveInstance(t.Context(), "nobody"); !errors.Is(err, ha.ErrInvalid) {
		t.Errorf("nobody: %v", err)
	}
	if err := a.RemoveInstance(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if got, want := a.inBucket().Instances, []ha.Member{{URL: "https://c"}, {Name: "b", Removed: true}}; !slices.Equal(got, want) {
		t.Errorf("members: %+v", got)
	}
	if _, err := a.store.Instance(t.Context(), "b"); !errors.Is(err, blobstore.ErrNotFound) {
		t.Errorf("its record: %v", err)
	}
	if a.Readmit(t.Context()); !a.inBucket().Removed("b") {
		t.Error("it is admitted though it has not joined")
	}
	a.join("b", "https://b")
	if err := a.host.Records.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.Readmit(t.Context()); a.inBucket().Removed("b") {
		t.Error("it has joined again, and is still removed")
	}
}

// TestUsersAndWebhooksShareASealWithoutTakingEachOtherAlong.
func TestUsersAndWebhooksShareASealWithoutTakingEachOtherAlong(t *testing.T) {
	a := newActive(t, true)
	err := errors.Join(
		a.ChangeUsers(t.Context(), "a user", func(all []account.User) ([]account.User, error) {
			return append(all, account.User{Name: "alice"}), nil
		}),
		a.ChangeHooks(t.Context(), "a webhook", func(all []webhook.Hook) ([]webhook.Hook, error) {
			return append(all, webhook.Hook{ID: "w1"}), nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	if users, err := a.Users(); err != nil || len(users) != 1 || users[0].Name != "alice" {
		t.Errorf("users: %+v, %v", users, err)
	}
	if hooks, err := a.Hooks(); err != nil || len(hooks) != 1 || hooks[0].ID != "w1" {
		t.Errorf("webhooks: %+v, %v", hooks, err)
	}
	data, _, err := blobstore.ReadAll(t.Context(), a.memory, ha.ConfigKey(a.head.Config), 1<<20)
	if err != nil || strings.Contains(string(data), "alice") {
		t.Errorf("the bucket reads who may sign in: %v", err)
	}
}

// TestTheConfigurationOfTheHeadIsLoadedAndTheMachineIsToldOnce.
func TestTheConfigurationOfTheHeadIsLoadedAndTheMachineIsToldOnce(t *testing.T) {
	a := newActive(t, false)
	var posted []ha.Event
	f := NewFollower(a.configs, a, func(ev ha.Event) { posted = append(posted, ev) })
	if _, idle := f.Begin().(ha.Tick); !idle {
		t.Error("there is something to tell before anything is known")
	}
	now := func(do func()) { do() }
	f.Follow(t.Context(), nil, now)
	f.Follow(t.Context(), a.head, now) // loads it
	f.Follow(t.Context(), a.head, now) // tells it
	f.Follow(t.Context(), a.head, now)
	want := ha.UseConfig{Frequency: ha.DefaultConfig().Frequency}
	if len(posted) != 2 || posted[0] != (ha.Tick{}) || posted[1] != want {
		t.Errorf("posted %+v", posted)
	}
	if got := NewFollower(a.configs, a, nil).Begin(); got != want {
		t.Errorf("after a restart: %+v", got)
	}
}

// TestAConfigurationThatIsGoneIsATroubleUntilItIsBack.
func TestAConfigurationThatIsGoneIsATroubleUntilItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newActive(t, false)
		key := ha.ConfigKey(a.head.Config)
		data, _, err := blobstore.ReadAll(t.Context(), a.memory, key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.memory.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		f := NewFollower(a.configs, a, func(ha.Event) {})
		f.Follow(t.Context(), a.head, func(do func()) { do() })
		if len(a.told) != 1 || !strings.HasPrefix(a.told[0], "trouble config: the shared configuration cannot be loaded") {
			t.Fatalf("told %q", a.told)
		}
		if _, err := a.memory.Put(t.Context(), key, data, blobstore.Always); err != nil {
			t.Fatal(err)
		}
		f.Follow(t.Context(), a.head, func(do func()) { do() })
		if _, c := a.configs.Current(); c == nil || !strings.HasPrefix(a.told[len(a.told)-1], "over config") {
			t.Errorf("known: %v, told %q", c != nil, a.told)
		}
	})
}

package peers

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// network carries messages between the instances of a test, by the host of their URL.
type network struct {
	mu        sync.Mutex
	instances map[string]*instance
	asked     []string // "METHOD host path"
}

func (n *network) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	to := n.instances[req.URL.Host]
	n.asked = append(n.asked, req.URL.Host+req.URL.Path)
	n.mu.Unlock()
	answer := &http.Response{StatusCode: http.StatusNoContent, Status: "204", Body: http.NoBody, Request: req}
	switch {
	case to == nil:
		return nil, errors.New("no route to host")
	case req.URL.Path == SightingPath:
		answer.StatusCode, answer.Status = http.StatusUnauthorized, "401"
		if signed, err := to.sightings.Sight(req.Context(), req.Header, body); err == nil {
			answer.StatusCode, answer.Status, answer.Body = http.StatusOK, "200", io.NopCloser(bytes.NewReader(signed))
		}
	case to.notifier.VerifyNotification(req.Header, body) != nil:
		answer.StatusCode, answer.Status = http.StatusUnauthorized, "401"
	default:
		to.notifier.Notified()
	}
	return answer, nil
}

func (n *network) sorted() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(slices.Values(n.asked))
}

// instance is one of a cluster whose bucket is in memory.
type instance struct {
	notifier  *Notifier
	sightings *Sightings
	host      Host
	work      sync.WaitGroup

	mu                sync.Mutex
	core              ha.Status
	sent, failed, got int
	woken             int
	told              []string
}

func (i *instance) Sent(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.sent++; err != nil {
		i.failed++
	}
}
func (i *instance) Notified() { i.got++ }

func (i *instance) Note(_ context.Context, level event.Level, _, text string, _ map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.told = append(i.told, string(level)+" "+text)
}
func (*instance) Trouble(context.Context, string, string, string)     {}
func (*instance) TroubleOver(context.Context, string, string, string) {}
func (*instance) Changed()                                            {}

// world is a bucket and a network.
type world struct {
	t       *testing.T
	memory  *storetest.Memory
	ring    *seal.Ring
	network *network
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, memory: storetest.NewMemory(), ring: sealtest.NewRing(t, rand.Reader), network: &network{instances: map[string]*instance{}}}
}

// instance joins: it has a record, and a URL unless it is named "mute".
func (w *world) instance(name string, core ha.Status) *instance {
	w.t.Helper()
	i := &instance{core: core}
	store := control.New(control.Config{Store: w.memory, Ring: w.ring, Timeout: time.Minute}, "one")
	dir, err := datadir.Open(w.t.Context(), w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = dir.Close() })
	i.host = Host{
		Self: ha.Peer{Name: name, URL: "http://" + name, Incarnation: name + "1"}, Version: "1", Control: store, Configs: shared.NewConfigs(store, dir),
		Records: shared.NewRecords(store, clock.System(), func() *ha.Head { return i.core.Head }), View: func() ha.Status { return i.core },
		Ring: w.ring, Clock: clock.System(), Random: rand.Reader, HTTP: &http.Client{Transport: w.network}, Log: i,
	}
	if name == "mute" {
		i.host.Self.URL = ""
	}
	i.notifier = NewNotifier(i.host, i, i.work.Go, func() { i.woken++ })
	i.sightings = NewSightings(i.host)
	w.network.instances[name] = i
	w.record(i, nil)
	return i
}

// record writes an instance's record, as it does whenever it has something to say.
func (w *world) record(i *instance, older *ha.Sighting) {
	w.t.Helper()
	w.put(ha.KindInstance, ha.InstanceKey(i.host.Self.Name), &ha.Instance{
		Format: ha.Format, Cluster: "one", Name: i.host.Self.Name, URL: i.host.Self.URL, Incarnation: i.host.Self.Incarnation,
		Role: i.core.Role, State: "in sync", Older: older,
	})
}

func (w *world) put(kind ha.Kind, key string, object any) {
	w.t.Helper()
	store := control.New(control.Config{Store: w.memory, Ring: w.ring, Timeout: time.Minute}, "one")
	if _, err := store.Write(w.t.Context(), kind, key, object, blobstore.Always); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) head(epoch, rev uint64) *ha.Head {
	h := &ha.Head{Format: ha.Format, Cluster: "one", Epoch: epoch, Rev: rev, Nonce: "n", Active: ha.Peer{Name: "a", URL: "http://a"}}
	w.put(ha.KindHead, ha.HeadKey, h)
	return h
}

// TestForgedNotificationsAreRefused: of another body, without a signature, of another key.
func TestForgedNotificationsAreRefused(t *testing.T) {
	w := newWorld(t)
	a, b := w.instance("a", ha.Status{}), w.instance("b", ha.Status{})
	signed := func(n *Notifier) (http.Header, []byte) {
		req, err := n.request(t.Context(), "http://b", &backup.Ref{ID: "x"})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Fatal(err)
		}
		return req.Header, body
	}
	header, body := signed(a.notifier)
	if err := b.notifier.VerifyNotification(header, body); err != nil {
		t.Errorf("a good one: %v", err)
	}
	if err := b.notifier.VerifyNotification(header, []byte(`{}`)); err == nil {
		t.Error("a changed body is accepted")
	}
	if err := b.notifier.VerifyNotification(http.Header{}, body); err == nil {
		t.Error("no signature is accepted")
	}
	forger := a.host
	forger.Ring = sealtest.NewRing(t, rand.Reader)
	header, body = signed(NewNotifier(forger, a, a.work.Go, func() {}))
	if err := b.notifier.VerifyNotification(header, body); err == nil {
		t.Error("another key is accepted")
	}
}

// TestEveryPeerIsWokenOnce, also one that joined since the records were read last, and
// whoever cannot be woken is told of once.
func TestEveryPeerIsWokenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.instance("a", ha.Status{Role: ha.RoleActive}), w.instance("b", ha.Status{})
		if err := a.host.Records.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		d := w.instance("d", ha.Status{}) // it joins
		w.instance("mute", ha.Status{})
		notify := func() {
			a.notifier.Notify(t.Context(), ha.Notify{Ref: &backup.Ref{ID: "x"}})
			a.work.Wait()
		}
		notify()
		if got, want := w.network.sorted(), []string{"b" + NotificationPath, "d" + NotificationPath}; !slices.Equal(got, want) {
			t.Errorf("woken: %q", got)
		}
		if b.woken != 1 || d.woken != 1 || a.woken != 0 || a.sent != 2 || a.failed != 0 {
			t.Errorf("b %d times, d %d, itself %d; sent %d, failed %d", b.woken, d.woken, a.woken, a.sent, a.failed)
		}
		delete(w.network.instances, "d") // it dies
		notify()
		notify()
		if a.failed != 2 || len(a.told) != 1 || !strings.HasPrefix(a.told[0], "warn http://d could not be notified") {
			t.Errorf("failed %d, told %q", a.failed, a.told)
		}
		w.network.instances["d"] = d
		if notify(); len(a.told) != 2 || a.told[1] != "info http://d can be notified again" {
			t.Errorf("told %q", a.told)
		}
	})
}

// TestAStandbyTellsTheActiveThatItsRecordHasChanged, and an active nobody.
func TestAStandbyTellsTheActiveThatItsRecordHasChanged(t *testing.T) {
	w := newWorld(t)
	h := w.head(1, 1)
	a, b := w.instance("a", ha.Status{Role: ha.RoleActive, Head: h}), w.instance("b", ha.Status{Head: h})
	for _, i := range []*instance{a, b} {
		i.notifier.TellActive(t.Context())
		i.work.Wait()
	}
	select {
	case <-a.host.Records.Stirred():
	default:
		t.Error("the active does not read the records again")
	}
	if a.woken != 1 || b.woken != 0 || b.sent != 1 || a.sent != 0 {
		t.Errorf("a was woken %d times and b %d; a sent %d and b %d", a.woken, b.woken, a.sent, b.sent)
	}
}

// TestSightingsAreSigned: who has no key cannot ask what an instance sees, nor answer for
// one; and an answer is for one question.
func TestSightingsAreSigned(t *testing.T) {
	w := newWorld(t)
	w.head(3, 7)
	a, b := w.instance("a", ha.Status{}), w.instance("b", ha.Status{})
	if _, err := a.sightings.Sight(t.Context(), map[string][]string{}, []byte("{}")); err == nil {
		t.Error("a question without a signature is answered")
	}
	seen, err := b.sightings.ask(t.Context(), "http://a")
	if err != nil || seen.Instance != "a" || seen.Shown == nil || seen.Shown.Rev != 7 {
		t.Errorf("sighting %+v, %v", seen, err)
	}
	answer, err := w.ring.Sign(a.sightings.scope("another question"), []byte(`{"instance":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.ring.Verify(a.sightings.scope("this question"), answer); err == nil {
		t.Error("an answer to another question passes")
	}
}

// TestASurveyAsksEverybodyAndSaysWhoCannotBeAsked: at its URL, else by a record that was
// written since this instance saw the older head; never by an older record.
func TestASurveyAsksEverybodyAndSaysWhoCannotBeAsked(t *testing.T) {
	w := newWorld(t)
	h := w.head(1, 5) // the bucket was put back
	older := &ha.OlderHead{Head: h, Seen: &ha.Head{Epoch: 2, Rev: 1, Active: ha.Peer{Name: "gone", URL: "http://gone"}}}
	a := w.instance("a", ha.Status{Older: older})
	w.instance("b", ha.Status{})
	mute := w.instance("mute", ha.Status{})
	survey := func() map[string]ha.Sighting {
		all, err := a.sightings.Survey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		by := map[string]ha.Sighting{}
		for _, s := range all {
			by[s.Instance] = s
		}
		return by
	}
	got := survey()
	if len(got) != 3 || got["b"].Shown == nil || got["b"].Shown.Rev != 5 {
		t.Fatalf("seen: %+v", got)
	}
	for name, why := range map[string]string{"mute": "it has no URL", "gone": "no route to host"} {
		if s := got[name]; s.Shown != nil || !strings.Contains(s.Error, why) || strings.Count(s.Error, "http://") > 1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	w.record(mute, nil)
	if s := survey()["mute"]; s.Shown == nil || s.Shown.Rev != 5 {
		t.Errorf("it has written its record to this bucket since: %+v", s)
	}
}

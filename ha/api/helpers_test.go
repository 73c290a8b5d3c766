package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	logs "github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/e2e/openapi"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/catalogue"
	"github.com/understudy-ha/understudy/ha/client"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/moments"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/putback"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/requests"
	"github.com/understudy-ha/understudy/ha/webhook"
	"github.com/understudy-ha/understudy/restore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "correct horse battery staple"

var then = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func ref(n uint64) backup.Ref {
	id := fmt.Sprintf("20260304T050607Z-e00000003-s%08d-aa", n)
	return backup.Ref{ID: id, Epoch: 3, Sequence: n, Key: "backups/2026-03-04/" + id + ".json", Digest: "d", Time: then}
}

// fakeAgent says what it is told to say, and remembers what it was asked.
type fakeAgent struct {
	events *event.Log

	mu      sync.Mutex
	status  report.Status
	changed chan struct{}
	backups []control.BackupInfo
	promos  map[string]promotions.PromotionStatus
	calls   []string
	err     error // of every call that can fail
	invalid error // of SetConfig
	users   []account.User
	turn    uint64

	entered, leave chan struct{} // when set, Backup says that it is there and waits
}

func newFake(t *testing.T) *fakeAgent {
	t.Helper()
	log, err := event.Open(filepath.Join(t.TempDir(), "events.jsonl"), event.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	newest := ref(7)
	return &fakeAgent{
		events: log, changed: make(chan struct{}), promos: map[string]promotions.PromotionStatus{},
		backups: []control.BackupInfo{{Ref: newest, Trigger: backup.Scheduled, Instance: "a", Newest: true, Sources: []control.SourceInfo{{Kind: "directory", Name: "uploads", Size: 3}}}},
		status: report.Status{
			Status:  ha.Status{Role: ha.RoleActive, Leading: true, Epoch: 3, Bucket: "ok", App: "running", Head: &ha.Head{Epoch: 3, Newest: &newest, Time: then}},
			Cluster: "c", Instance: "a", Incarnation: "i", URL: "http://a:7878", Version: "1.2.3", State: report.StateActive,
			Active: "a", ActiveURL: "http://a:7878", Healthy: true, LastBackup: &newest, LastBackupAge: 12, NextBackup: 30,
			Config: &report.SharedConfig{Digest: "d", Frequency: ha.Duration(5 * time.Minute), Fencing: "available", Instances: []ha.Member{}},
			Cached: []backup.Ref{}, Instances: []report.InstanceStatus{
				{Name: "a", Self: true, Role: ha.RoleActive, State: report.StateActive, Lag: -1},
				{Name: "b", Role: ha.RoleStandby, State: report.StateInSync, Lag: 0, Cached: []string{newest.ID}, LastSeen: &then},
				{URL: "http://c:7878", State: report.StateRegistered, Lag: -1},
			},
			Stats: report.Stats{BackupAttempts: 4, BackupFailures: 1, LastAttempt: &then, LastSuccess: &then, BackupSeconds: 1.5, BackupSize: backup.Size{Logical: 30, New: 20, Stored: 10}},
		},
	}
}

// parts are an agent, all of which is the fake.
func (f *fakeAgent) parts() Parts {
	return Parts{
		Instance: f, Table: f, Backups: f, History: f, Requests: f, Changes: f, Promotions: f,
		Shared: f, Recovery: f, Notifier: f, Sightings: f, Witness: f, Accounts: f, Hooks: f,
	}
}

// call notes a call and gives its outcome.
func (f *fakeAgent) call(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

// lastCall forgets the calls and gives the last one.
func (f *fakeAgent) lastCall() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.calls) == 0 {
		return ""
	}
	last := f.calls[len(f.calls)-1]
	f.calls = nil
	return last
}

func (f *fakeAgent) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// change changes the fake's state, and says so.
func (f *fakeAgent) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeAgent) Status() report.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (f *fakeAgent) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fakeAgent) Events() *event.Log { return f.events }

func (f *fakeAgent) Instances(context.Context) ([]report.InstanceStatus, error) {
	return f.Status().Instances, f.call("instances")
}

func (f *fakeAgent) BackupsAfter(_ context.Context, id string, limit int) (control.BackupList, error) {
	all := f.backups
	if i := slices.IndexFunc(all, func(b control.BackupInfo) bool { return b.ID == id }); i >= 0 {
		all = all[i+1:]
	}
	list := control.BackupList{Backups: all}
	if limit > 0 && limit < len(all) {
		list = control.BackupList{Backups: all[:limit], Next: all[limit-1].ID}
	}
	return list, f.call("backups %q %d", id, limit)
}

func (f *fakeAgent) RequireFull(context.Context) error { return f.call("full") }

func (f *fakeAgent) Verify(_ context.Context, id string, deep bool) (string, error) {
	return "", f.call("verify %s %t", id, deep)
}

func (f *fakeAgent) Windows(context.Context) ([]moments.Source, error) {
	return []moments.Source{{
		Name: "db", Kind: "postgres_cluster",
		Windows: []moments.Window{{Since: then.Add(-time.Hour), Until: then.Add(-time.Minute), Epoch: 3, Backup: ref(7).ID, Streams: []logs.ID{{Epoch: 3, N: 1}}, Broken: "part 7 is damaged"}},
		Gaps:    []moments.Gap{{From: then.Add(-time.Minute), To: then}},
	}}, f.call("windows")
}

func (f *fakeAgent) Diff(_ context.Context, a, b string) (catalogue.BackupDiff, error) {
	d := catalogue.BackupDiff{A: f.backups[0], B: f.backups[0], Sources: []restore.SourceDiff{{
		Name: "files", Kind: "directory", Difference: source.Difference{Files: &source.FileDifference{Added: source.FileCount{Entries: 1, Bytes: 3}}},
		Changes: []source.Change{{Change: source.Added, Path: "new", Type: "file", SizeB: 3}},
	}}}
	return d, f.call("diff %s %s", a, b)
}

func (f *fakeAgent) LogAges() []agent.AgeSample {
	return []agent.AgeSample{{Time: then, Ages: map[string]float64{"db": .4}}}
}

func (f *fakeAgent) Lags() []agent.LagSample {
	return []agent.LagSample{{Time: then, Lags: map[string]float64{"b": 0}}}
}

func (f *fakeAgent) Users() ([]account.User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.users), nil
}

func (f *fakeAgent) User(name string) (account.User, bool) {
	all, _ := f.Users()
	i := slices.IndexFunc(all, func(u account.User) bool { return u.Name == name })
	if i < 0 {
		return account.User{}, false
	}
	return all[i], true
}

// SignIn takes what stands for a user's hash for the password.
func (f *fakeAgent) SignIn(_ context.Context, name, password string) (account.User, error) {
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	if err != nil {
		return account.User{}, err
	}
	if u, known := f.User(name); known && u.Password == password {
		return u, nil
	}
	return account.User{}, account.ErrSignIn
}

func (f *fakeAgent) AddUser(ctx context.Context, name string, role account.Role, password string) error {
	return f.call("add user %s %s %s by %s", name, role, password, event.Actor(ctx))
}

func (f *fakeAgent) SetPassword(ctx context.Context, name, password string) error {
	return f.call("password of %s %s by %s", name, password, event.Actor(ctx))
}

func (f *fakeAgent) RemoveUser(ctx context.Context, name string) error {
	return f.call("remove user %s by %s", name, event.Actor(ctx))
}

func (f *fakeAgent) Turn() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.turn
}

func (f *fakeAgent) BackupInfo(_ context.Context, id string) (control.BackupInfo, *backup.Manifest, error) {
	if err := f.call("backup %s", id); err != nil {
		return control.BackupInfo{}, nil, err
	}
	for _, b := range f.backups {
		if b.ID == id {
			return b, &backup.Manifest{}, nil
		}
	}
	return control.BackupInfo{}, nil, fmt.Errorf("%w: %s", control.ErrNoBackup, id)
}

func (f *fakeAgent) ClusterHistory(_ context.Context, before string, limit int) (control.ClusterHistory, error) {
	return control.ClusterHistory{Events: []control.ClusterEvent{{Key: "demote/00000003.json", Kind: "promotion", Epoch: 3, Time: then, Text: "b became the active"}}, Next: "n"},
		f.call("history %q %d", before, limit)
}

func (f *fakeAgent) Backup(_ context.Context, trigger backup.Trigger, reason string) (backup.Ref, error) {
	if f.entered != nil {
		close(f.entered)
		<-f.leave
	}
	return ref(8), f.call("make backup %s %q", trigger, reason)
}

func (f *fakeAgent) BackupSoon(_ context.Context, trigger backup.Trigger, reason string) error {
	return f.call("make backup soon %s %q", trigger, reason)
}

func (f *fakeAgent) AcceptChanges(_ context.Context, sources []string) ([]backup.Change, error) {
	return []backup.Change{{Source: "files", What: "had 100 files, has 0"}}, f.call("accept %q", sources)
}

func (f *fakeAgent) PlanRecovery(_ context.Context, without []string) (putback.RecoveryPlan, error) {
	return putback.RecoveryPlan{Needed: true}, f.call("plan-recovery %v", without)
}

func (f *fakeAgent) RecoverBucket(ctx context.Context, req putback.RecoveryRequest) (putback.RecoveryPlan, error) {
	return putback.RecoveryPlan{Needed: true, Epoch: 7}, f.call("recover-bucket by %s: %+v", event.Actor(ctx), req)
}

func (f *fakeAgent) Sight(_ context.Context, _ http.Header, body []byte) ([]byte, error) {
	return []byte("{}"), f.call("sight %s", body)
}

func (f *fakeAgent) Preflight(ctx context.Context, req promotions.PromotionRequest) (promotions.Preflight, error) {
	return promotions.Preflight{OK: true, Mode: ha.ModeSwitchover, Backup: f.backups[0], Checks: []promotions.Check{{Name: "role", OK: true}}}, f.call("preflight by %s: %+v", event.Actor(ctx), req)
}

func (f *fakeAgent) Promote(ctx context.Context, req promotions.PromotionRequest) (string, error) {
	if err := f.call("promote by %s: %+v", event.Actor(ctx), req); err != nil {
		return "", err
	}
	f.change(func() {
		f.promos["p1"] = promotions.PromotionStatus{ID: "p1", State: promotions.PromotionRunning, Mode: req.Mode, Phase: ha.PhaseLease}
		f.status.Promotion = &ha.Promotion{ID: "p1"}
	})
	return "p1", nil
}

func (f *fakeAgent) Promotion(id string) (promotions.PromotionStatus, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, found := f.promos[id]
	return s, found
}

func (f *fakeAgent) CancelPromotion(context.Context) error { return f.call("cancel") }

func (f *fakeAgent) SetConfig(_ context.Context, settings map[string]string) error {
	f.mu.Lock()
	err := f.invalid
	f.mu.Unlock()
	if err != nil {
		return err
	}
	var said []string
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		said = append(said, key+"="+settings[key])
	}
	return f.call("set %s", strings.Join(said, " "))
}

func (f *fakeAgent) AddInstance(_ context.Context, url string) error { return f.call("add %s", url) }
func (f *fakeAgent) RemoveInstance(_ context.Context, name string) error {
	return f.call("remove %s", name)
}
func (f *fakeAgent) Pause(ctx context.Context, req requests.PauseRequest) error {
	if req.For == 0 && req.Reason == "" {
		return f.call("pause by %s", event.Actor(ctx))
	}
	return f.call("pause by %s for %v: %s", event.Actor(ctx), req.For, req.Reason)
}

func (f *fakeAgent) Webhooks() ([]webhook.Status, error) {
	return []webhook.Status{{ID: "w1", URL: "https://example.com/…"}}, f.call("webhooks")
}

func (f *fakeAgent) AddWebhook(_ context.Context, req webhook.Request) (webhook.Status, string, error) {
	return webhook.Status{ID: "w2", URL: req.URL}, "whsec_c2VjcmV0", f.call("add webhook %+v", req)
}

func (f *fakeAgent) RemoveWebhook(_ context.Context, id string) error {
	return f.call("remove webhook %s", id)
}
func (f *fakeAgent) TestWebhook(_ context.Context, id string) error {
	return f.call("test webhook %s", id)
}

func (f *fakeAgent) NoteAccess(ctx context.Context, granted bool, text string) {
	level := event.Warn
	if granted {
		level = event.Info
	}
	f.events.Add(ctx, event.Event{Level: level, Kind: "access", Text: text})
}

func (f *fakeAgent) NoteRefusal(ctx context.Context, request string, err error) {
	if ha.IsRefusal(err) {
		f.events.Add(ctx, event.Event{Level: event.Warn, Kind: "refusal", Text: request + ": " + err.Error()})
	}
}

func (f *fakeAgent) Resume(ctx context.Context) error {
	return f.call("resume by %s", event.Actor(ctx))
}

func (f *fakeAgent) StartAnyway(ctx context.Context) error {
	return f.call("start by %s", event.Actor(ctx))
}

func (f *fakeAgent) VerifyNotification(header http.Header, body []byte) error {
	if header.Get("webhook-signature") != "v1,good" {
		return errors.New("no signature holds")
	}
	return f.call("verified %s %s %s", header.Get("webhook-id"), header.Get("webhook-timestamp"), body)
}

func (f *fakeAgent) Notified() { _ = f.call("notified") }

// served is a server of a fake, and clients of it.
type served struct {
	fake   *fakeAgent
	server *Server
	socket *client.Client
	url    string // of the TCP listener
	path   string // of the socket
	http   *http.Client
	stop   context.CancelFunc
	done   chan error

	read     sync.Once
	document *openapi.Document
}

// start serves a fake on a socket and on TCP until the test ends.
func start(t *testing.T, token string) *served {
	t.Helper()
	f := newFake(t)
	s := &served{fake: f, path: socketPath(t), http: &http.Client{Transport: &http.Transport{}}, done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	var err error
	s.server, err = Listen(ctx, ServerConfig{Parts: f.parts(), Listen: "127.0.0.1:0", SocketPath: s.path, Token: token, Version: "1.2.3", Place: Place{Bucket: "s3://b/p", KeyFile: "/etc/understudy/key"}})
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + s.server.Addr().String()
	if s.socket, err = client.New(s.path); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- s.server.Serve(ctx) }()
	t.Cleanup(func() {
		s.socket.Close()
		s.http.CloseIdleConnections()
		cancel()
		if err := <-s.done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// socketPath is a path for a socket, which must be short.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "api") //nolint:usetesting // t.TempDir holds the test's name, and may be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "agent.sock")
}

// answer is a response that has been read.
type answer struct {
	status int
	header http.Header
	body   string
}

// tcp makes a request over TCP.
func (s *served) tcp(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	return s.asDescribed(t, method, path, request(t, s.http, s.url, method, path, body, header...))
}

// local makes a request over the socket.
func (s *served) local(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	return s.asDescribed(t, method, path, s.viaSocket(t, method, path, body, header...))
}

func (s *served) viaSocket(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.path)
	}}
	defer transport.CloseIdleConnections()
	return request(t, &http.Client{Transport: transport}, "http://agent", method, path, body, header...)
}

// asDescribed holds the answer to a call against the API's own document.
func (s *served) asDescribed(t *testing.T, method, path string, got answer) answer {
	t.Helper()
	s.read.Do(func() {
		var err error
		if s.document, err = openapi.Parse([]byte(s.viaSocket(t, http.MethodGet, "/api/v1/openapi.json", "").body)); err != nil {
			t.Error(err)
		}
	})
	r, err := http.NewRequestWithContext(t.Context(), method, "http://agent"+path, nil)
	if err != nil || s.document == nil || !s.document.Describes(r) {
		return got
	}
	if err := s.document.Response(r, got.status, got.header, []byte(got.body)); err != nil {
		t.Errorf("%s %s is answered %d, not as its document says: %v\n%s", method, path, got.status, err, got.body)
	}
	return got
}

func request(t *testing.T, c *http.Client, base, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

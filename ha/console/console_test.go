package console_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/backup/source"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/agent"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/catalogue"
	"github.com/understudy-ha/understudy/ha/console"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/moments"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
	"github.com/understudy-ha/understudy/ha/webhook"
	"github.com/understudy-ha/understudy/restore"
)

// large is an agent of a large cluster: 10,000 backups, 50 instances, and much
// that has happened. Of what changes something it takes nothing.
type large struct {
	api.Backups
	api.Promotions
	api.Accounts
	api.Hooks
	status  report.Status
	backups []control.BackupInfo
	events  *event.Log
	changed chan struct{}
	running map[string]promotions.PromotionStatus

	windows    []moments.Source
	windowsErr error
}

const (
	manyBackups   = 10_000
	manyInstances = 50
)

// then is now: what the pages say of the last day is as of it.
var then = time.Now().UTC().Truncate(time.Second)

func newLarge(tb testing.TB, role ha.Role) *large {
	tb.Helper()
	log, err := event.Open(filepath.Join(tb.TempDir(), "events.jsonl"), event.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = log.Close() })
	a := &large{events: log, changed: make(chan struct{})}
	for i := range manyBackups {
		n := uint64(manyBackups - i)
		at := then.Add(-time.Duration(i) * 5 * time.Minute)
		id := fmt.Sprintf("%s-e%08d-s%08d-%08x", at.Format("20060102T150405Z"), 3, n, n)
		b := control.BackupInfo{
			Ref:     backup.Ref{ID: id, Epoch: 3, Sequence: n, Key: "backups/" + at.Format("2006-01-02") + "/" + id + ".json", Digest: strings.Repeat("d", 64), Time: at},
			Trigger: backup.Scheduled, Instance: "host-00", AppVersion: "4.2", Version: "1.0.0", Duration: 1.2 + float64(i%7)/3,
			Size:    backup.Size{Logical: 5<<30 + int64(i%50)<<22, New: 40 << 20, Stored: int64(10+i%17) << 20},
			Changed: i%5 != 0, Newest: i == 0, Cached: i < 10,
			Sources: []control.SourceInfo{{Kind: "postgres", Name: "db", Size: 4 << 30}, {Kind: "directory", Name: "uploads", Size: 1 << 30}},
		}
		if i%9 == 4 {
			b.Trigger, b.Reason = backup.Task, "create universe prod-7"
		}
		if i < 3 {
			b.Rehearsals = []control.BackupRehearsal{{Instance: "host-01", Rehearsal: ha.Rehearsal{Backup: id, Time: at, Result: ha.RehearsalPassed, Took: ha.Duration(1500 * time.Millisecond)}}}
		}
		a.backups = append(a.backups, b)
	}
	newest := a.backups[0].Ref
	a.status = report.Status{
		Status:  ha.Status{Role: role, Leading: role == ha.RoleActive, Epoch: 3, Bucket: "ok", App: "running", Head: &ha.Head{Epoch: 3, Newest: &newest, Time: then, Fencing: ha.Fencing{Mode: ha.Available, TTL: ha.Duration(time.Minute), Margin: ha.Duration(10 * time.Second)}}},
		Cluster: "090d0a9617cbda625dc96a065aa498a6", Instance: "host-00", Incarnation: "i", URL: "https://host-00.example:7878", Version: "1.0.0", State: report.StateActive,
		Active: "host-00", ActiveURL: "https://host-00.example:7878", Healthy: true, LastBackup: &newest, LastBackupAge: 42, NextBackup: 258,
		Config: &report.SharedConfig{
			Digest: "d", Frequency: ha.Duration(5 * time.Minute), Retention: ha.Duration(14 * 24 * time.Hour), ReuseWindow: ha.Duration(7 * 24 * time.Hour), Fencing: "available",
			TTL: ha.Duration(time.Minute), StopTimeout: ha.Duration(20 * time.Second), Margin: ha.Duration(10 * time.Second), Instances: []ha.Member{},
		},
		Cached: []backup.Ref{}, HeadAlive: true, HeadAge: 3, Outlook: "this instance is the active", OutlookGood: true,
	}
	if role == ha.RoleStandby {
		a.status.Instance, a.status.App, a.status.State = "host-01", "", report.StateInSync
		a.status.NextBackup, a.status.Staged, a.status.Ready = -1, newest.ID, true
		a.status.Outlook = "a switchover would lose nothing; a failover would lose what came after the newest backup (42s ago)"
	}
	for i := range manyInstances {
		one := report.InstanceStatus{
			Name: fmt.Sprintf("host-%02d", i), URL: fmt.Sprintf("https://host-%02d.example:7878", i), Role: ha.RoleStandby, State: report.StateInSync, Epoch: 3, Version: "1.0.0",
			Keys: []string{"72e16c15"}, LastSeen: &then,
		}
		for _, b := range a.backups[:10] {
			one.Cached = append(one.Cached, b.ID)
		}
		switch {
		case i == 0:
			one.Role, one.State, one.Cached = ha.RoleActive, report.StateActive, nil
		case i == 1:
			one.Rehearsals = []ha.Rehearsal{{Backup: newest.ID, Time: then, Result: ha.RehearsalPassed, Took: ha.Duration(1500 * time.Millisecond)}}
		case i == 2:
			one.State, one.Lag = report.StateBehind, 900
		case i == 3:
			one.State, one.Lag, one.LastError = report.StateUnreachable+" since 2026-03-04T04:00:00Z", 4000, "connection refused"
		case i == 4:
			one.State = "rehearsal failed"
			one.Rehearsals = []ha.Rehearsal{{Backup: newest.ID, Time: then, Result: ha.RehearsalFailed, Error: "the probe said: table users is empty"}}
		case i == 5:
			one.State, one.Blockers = report.StateBlocked, []string{"source db: the role app is not there, and the agent's role may not make it"}
		case i == 6:
			one.Troubles = []string{"the application runs here (process 4711 has /srv/app/db.sqlite open): stop it"}
		}
		one.Ready = one.Role == ha.RoleStandby && i != 5 && i != 7
		one.Self = one.Name == a.status.Instance
		a.status.Instances = append(a.status.Instances, one)
	}
	a.status.Healthy, a.status.Verdict = false, report.VerdictToLookAt
	a.status.Problems = []string{
		"host-03 is unreachable since 2026-03-04T04:00:00Z", "host-04: the rehearsal of a backup failed: the probe said: table users is empty",
		"host-05 could not take over: source db: the role app is not there, and the agent's role may not make it",
	}
	a.status.Caveats = []string{
		"host-02: behind (the newest backup is 42s old)", "the newest backup lacks something: uploads: 2 files have an ACL that could not be kept",
		"host-09 had what never came here, and kept it as salvage backup 20260304T040000Z-e00000002-s00000812-5a7de70d; look: understudy backups diff 20260304T035500Z-e00000002-s00000811-0c1d2e3f 20260304T040000Z-e00000002-s00000812-5a7de70d; get it: understudy restore 20260304T040000Z-e00000002-s00000812-5a7de70d --to DIR",
	}
	topics := []report.Topic{"unreachable", "rehearsal-failed", "cannot-take-over", "catching-up", "backup-lacks-something", "what-was-lost"}
	for i, text := range append(slices.Clone(a.status.Problems), a.status.Caveats...) {
		a.status.Findings = append(a.status.Findings, report.Finding{Text: text, Topic: topics[i], Wrong: i < len(a.status.Problems)})
	}
	a.status.Protects = report.Protection{
		Sources: []report.ProtectedSource{{Name: "db", Kind: "postgres"}, {Name: "uploads", Kind: "directory"}, {Name: "keys", Kind: "file"}},
		Hooks:   []report.ConfiguredHook{{Name: "promote", Program: "systemctl", Timeout: 60}, {Name: "demote", Program: "systemctl"}},
	}
	a.status.Takeover = &control.Takeover{
		Epoch: 3, Time: then.Add(-5 * time.Hour), Mode: ha.ModeFailover, By: "user alice", Reason: "host-09 burns", Active: "host-00", Old: "host-09", Restored: a.backups[61].ID,
		Salvaged: []control.Salvaged{{Instance: "host-09", Epoch: 3, Backup: "20260304T040000Z-e00000002-s00000812-5a7de70d"}},
		Lost:     []string{a.status.Caveats[2]},
	}
	a.status.Changes = []backup.Change{{Source: "uploads", What: "/srv/app/uploads lies on another device than in the newest backup (8:17 then, 8:1 now): is its volume mounted?"}}
	kinds := []string{"backup", "pull", "instances", "config", "role"}
	for i := range 500 {
		level := event.Info
		if i%40 == 0 {
			level = event.Alarm
		}
		log.Add(tb.Context(), event.Event{Time: then.Add(time.Duration(i-500) * 5 * time.Minute), Level: level, Kind: kinds[i%len(kinds)], Text: fmt.Sprintf("something of note has happened for the %dth time", i), Instance: a.status.Instance})
	}
	return a
}

func (a *large) Status() report.Status            { return a.status }
func (a *large) Changed() <-chan struct{}         { return a.changed }
func (a *large) Events() *event.Log               { return a.events }
func (a *large) Turn() uint64                     { return 1 }
func (a *large) User(string) (account.User, bool) { return alice, true }
func (a *large) Users() ([]account.User, error) {
	return []account.User{alice, {Name: "vera", Role: account.Viewer, Password: "p"}}, nil
}
func (a *large) Webhooks() ([]webhook.Status, error) {
	return []webhook.Status{
		{ID: "1f0c22ab", URL: "https://chat.example/hooks/…", Levels: []event.Level{event.Warn, event.Alarm}, Delivered: 1204},
		{ID: "77aa01d3", URL: "https://tickets.example/understudy", Kinds: []string{"promotion", "demotion"}, Failed: 3, Pending: 2, LastError: "answered 503 Service Unavailable"},
	}, nil
}
func (a *large) NoteRefusal(context.Context, string, error) {}
func (a *large) NoteAccess(context.Context, bool, string)   {}
func (a *large) Instances(context.Context) ([]report.InstanceStatus, error) {
	return a.status.Instances, nil
}

var alice = account.User{Name: "alice", Role: account.Admin, Password: "p"}

func (a *large) SignIn(context.Context, string, string) (account.User, error) { return alice, nil }

func (a *large) BackupsAfter(_ context.Context, id string, limit int) (control.BackupList, error) {
	from := 0
	for i := range a.backups {
		if a.backups[i].ID == id {
			from = i + 1
		}
	}
	list := control.BackupList{Backups: a.backups[from:min(from+limit, len(a.backups))]}
	if from+limit < len(a.backups) {
		list.Next = a.backups[from+limit-1].ID
	}
	return list, nil
}

func (a *large) Windows(context.Context) ([]moments.Source, error) { return a.windows, a.windowsErr }

func (a *large) LogAges() []agent.AgeSample {
	var all []agent.AgeSample
	for i := range 2880 {
		s := agent.AgeSample{Time: time.Now().Add(time.Duration(i-2880) * 30 * time.Second), Ages: map[string]float64{}}
		if a.status.Recovery != nil && (i < 1000 || i > 1100) {
			s.Ages["db"] = .4 + float64(i%7)/10 + float64(max(0, 40-max(i-2000, 2000-i)))
		}
		all = append(all, s)
	}
	return all
}

func (a *large) Lags() []agent.LagSample {
	var all []agent.LagSample
	for i := range 720 {
		s := agent.LagSample{Time: then.Add(time.Duration(i-720) * time.Minute), Lags: map[string]float64{}}
		for n := 1; n < manyInstances; n++ {
			s.Lags[fmt.Sprintf("host-%02d", n)] = float64((i * n) % 300)
		}
		all = append(all, s)
	}
	return all
}

func (a *large) BackupInfo(_ context.Context, id string) (control.BackupInfo, *backup.Manifest, error) {
	for _, b := range a.backups {
		if b.ID == id {
			return b, nil, nil
		}
	}
	return control.BackupInfo{}, nil, control.ErrNoBackup
}

func (a *large) Diff(context.Context, string, string) (catalogue.BackupDiff, error) {
	return catalogue.BackupDiff{A: a.backups[1], B: a.backups[0], Sources: []restore.SourceDiff{
		{Name: "uploads", Kind: "directory", Difference: source.Difference{Files: &source.FileDifference{Added: source.FileCount{Entries: 1, Bytes: 2048}, Changed: source.FileCount{Entries: 1, Bytes: 17}}},
			Changes: []source.Change{{Change: source.Added, Path: "invoices/2026-0304.pdf", Type: "file", SizeB: 2048}, {Change: source.Changed, Path: "index.json", Type: "file", What: []string{"content", "mtime"}}}},
		{Name: "db", Kind: "postgres", Difference: source.Difference{Tables: []source.TableDifference{{Name: "public.orders", RowsA: 90, RowsB: 93, OnlyB: 3}}}},
	}}, nil
}

func (a *large) ClusterHistory(context.Context, string, int) (control.ClusterHistory, error) {
	return control.ClusterHistory{Events: []control.ClusterEvent{
		{Key: "demote/00000003.json", Kind: "promotion", Time: then.Add(-5 * time.Hour), Epoch: 3, Instance: "host-00", Backup: a.backups[61].ID, By: "user alice", Reason: "host-09 burns", Text: "host-00 became the active in place of host-09, by failover"},
	}}, nil
}

func (a *large) Promotion(id string) (promotions.PromotionStatus, bool) {
	p, found := a.running[id]
	return p, found
}

func (a *large) Preflight(_ context.Context, req promotions.PromotionRequest) (promotions.Preflight, error) {
	p := promotions.Preflight{OK: true, Mode: req.Mode, Backup: a.backups[0], Checks: []promotions.Check{
		{Name: "role", OK: true, Detail: "good"}, {Name: "version", OK: true, Detail: "good"}, {Name: "space", OK: true, Detail: "good"}, {Name: "heartbeat", OK: true, Detail: "good"},
	}, Loss: promotions.Loss{BackupAge: 42, Heartbeat: 3, Summary: "nothing: host-00 makes a final backup first"}}
	if at := req.Moment; at != nil {
		if at.After(then) {
			return p, &ha.Refusal{Reason: "source db cannot be brought to " + ha.MomentText(*at)}
		}
		p.Moment = at
		p.Loss.Summary = "what came after " + ha.MomentText(*at) + " in db, and after backup " + p.Backup.ID + " in the other sources"
		p.Loss.Sources = []report.SourcePoint{{Source: "db", Time: *at, Age: 3600, Moment: true, Lacks: "it is built anew here"}, {Source: "uploads", Time: then, Age: 42}}
		return p, nil
	}
	if req.Mode == ha.ModeFailover {
		p.Loss.Summary = "what was changed after backup " + p.Backup.ID + ", 42s ago"
		p.Backup.Warnings = []string{"uploads: 2 files have an ACL that could not be kept"}
		if !req.HostIsOff {
			p.Wait = &report.Wait{For: "host-00 to say that its application has stopped", Seconds: 40, Word: true}
		}
	}
	return p, nil
}

// serve serves a large cluster's agent over TCP.
func serve(tb testing.TB, role ha.Role) string {
	tb.Helper()
	return serveOne(tb, newLarge(tb, role))
}

// serveOne serves an agent over TCP.
func serveOne(tb testing.TB, large *large) string {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	parts := api.Parts{
		Instance: large, Table: large, Backups: large, History: large, Promotions: large, Witness: large, Accounts: large, Hooks: large,
	}
	s, err := api.Listen(ctx, api.ServerConfig{Parts: parts, Listen: "127.0.0.1:0", Token: "token", Pages: console.Handler(), Version: "1.0.0", Place: api.Place{Bucket: "s3://acme-backups/shop?region=eu-central-1", KeyFile: "/etc/understudy/key"}})
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return "http://" + s.Addr().String()
}

// tabs are the pages, each with what shows that its data is there.
var tabs = []struct{ name, hash, seen string }{
	{"Overview", "overview", "What to do next"},
	{"Replication Configuration", "replication", "090d0a9617cbda625dc96a065aa498a6"},
	{"Instance Configuration", "instances", "host-49"},
	{"Backups", "backups", "50 shown"},
	{"Events", "events", "499th time"},
	{"Make Active", "make-active", "It would work now."},
	{"Users", "users", "vera"},
	{"Webhooks", "webhooks", "503 Service Unavailable"},
	{"Reference", "reference", "/api/v1/promotions/{id}"},
}

// TestPagesOfALargeCluster opens every page, in light and on a phone in the dark: each
// shows its data, fits, is accessible, and is kept as a picture.
func TestPagesOfALargeCluster(t *testing.T) {
	for _, role := range []ha.Role{ha.RoleActive, ha.RoleStandby} {
		t.Run(string(role), func(t *testing.T) {
			url := serve(t, role)
			b := server.OpenBrowser(t, server.Desktop)
			b.Open(url)
			b.See("Sign in")
			b.Accessible("Sign in")
			b.Shoot("large-" + string(role) + "-sign-in")
			signIn(b)
			for _, tab := range tabs {
				if role == ha.RoleActive && tab.hash == "make-active" || role == ha.RoleStandby && tab.hash == "reference" {
					continue
				}
				t.Logf("%s opens in %v", tab.name, openTab(b, tab.hash, tab.seen))
				onEveryScreen(b, fmt.Sprintf("large-%s-%s", role, tab.hash))
			}
			if role == ha.RoleStandby {
				openTab(b, "make-active", "rehearsed here")
				lookAtAFailover(b)
			} else {
				openTab(b, "backups", "50 shown")
				b.Click("Show older backups")
				b.See("100 shown")
				b.Click("Details of the backup of " + server.Eval[string](b, fmt.Sprintf("new Date(%q).toLocaleString()", then.Format(time.RFC3339))))
				b.See("understudy restore", "Check every byte")
				b.Accessible("Details")
				b.Shoot("large-active-details")
			}
		})
	}
}

// signIn signs in on the page that asks for it.
func signIn(b *server.Browser) {
	b.See("Sign in")
	b.Fill("User", "alice")
	b.Fill("Password", "password")
	b.Click("Sign in")
	b.See("Sign out")
}

// openTab goes to a page and gives the time until its data can be seen.
func openTab(b *server.Browser, hash, seen string) time.Duration {
	took := server.Eval[float64](b, fmt.Sprintf(`new Promise((done) => {
	  const from = performance.now(), moves = location.hash !== "#" + %q;
	  location.hash = %q;
	  const look = () => {
	    const took = performance.now() - from;
	    if (document.querySelector("main")?.textContent.includes(%q) || took > 30000) requestAnimationFrame(() => done(performance.now() - from));
	    else setTimeout(look, 1);
	  };
	  if (moves) addEventListener("hashchange", look, { once: true });
	  else look();
	})`, hash, hash, seen))
	return time.Duration(took * float64(time.Millisecond))
}

// onEveryScreen looks whether what is shown fits and is accessible, and keeps a picture
// each.
func onEveryScreen(b *server.Browser, what string) {
	for name, screen := range map[string]server.Screen{"light": server.Desktop, "dark": server.Night, "phone": server.Phone, "phone-dark": server.NightPhone} {
		b.Use(screen)
		b.Shoot(what + "-" + name)
		b.FitsWidth(what + "-" + name)
		b.Accessible(what + "-" + name)
	}
	b.Use(server.Desktop)
}

// lookAtAFailover sees how long a failover would wait, and the word that ends it.
func lookAtAFailover(b *server.Browser) {
	b.See("It would work now.") // it comes above what is clicked, and moves that
	b.Click("Failover")
	b.See("The wait:", "host-00 to say that its application has stopped", "The backup lacks:")
	b.Click("Exceptions")
	onEveryScreen(b, "failover")
	b.Click("The host of the old active is off: do not wait for its application")
	b.See("none for the old active's application")
}

// TestEverythingComesFromTheProgram: the pages load nothing from elsewhere, and
// their policy would not let them.
func TestEverythingComesFromTheProgram(t *testing.T) {
	for name, handler := range map[string]http.Handler{"console": console.Handler(), "set-up": console.SetupHandler()} {
		page := fetch(t, handler, "/")
		if page.Code != http.StatusOK || !strings.HasPrefix(page.Header().Get("Content-Type"), "text/html") {
			t.Fatalf("%s: %d %v", name, page.Code, page.Header())
		}
		csp := page.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy lacks %s: %s", name, want, csp)
			}
		}
		if text := page.Body.String(); strings.Contains(csp, "unsafe") || strings.Contains(text, "http:") || strings.Contains(text, "https:") || strings.Contains(text, "<style") || strings.Contains(text, "onclick") {
			t.Errorf("%s: something inline, or from elsewhere", name)
		}
	}
	for _, path := range []string{"app.js", "setup.js", "style.css", "icon.svg"} {
		first := fetch(t, console.Handler(), "/console/"+path)
		if first.Code != http.StatusOK || first.Header().Get("ETag") == "" {
			t.Errorf("%s: %d", path, first.Code)
		}
		if again := fetch(t, console.Handler(), "/console/"+path, "If-None-Match", first.Header().Get("ETag")); again.Code != http.StatusNotModified {
			t.Errorf("%s again: %d", path, again.Code)
		}
	}
	for _, path := range []string{"/console/", "/console/none.js", "/console/index.html", "/console/../console.go", "/other"} {
		if got := fetch(t, console.Handler(), path); got.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
}

func fetch(t *testing.T, h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://host"+path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// budget is how long a page may take to open with 10,000 backups and 50
// instances.
const budget = 100 * time.Millisecond

// BenchmarkPages measures how long each page takes to open in a browser, and
// fails when the quickest of several tries takes longer than it may.
func BenchmarkPages(b *testing.B) {
	url := serve(b, ha.RoleStandby)
	browser := server.OpenBrowser(b, server.Desktop)
	browser.Open(url)
	signIn(browser)
	for _, tab := range tabs {
		b.Run(tab.hash, func(b *testing.B) {
			quickest := time.Hour
			for b.Loop() {
				away := tabs[0]
				if tab == away {
					away = tabs[1]
				}
				openTab(browser, away.hash, away.seen)
				quickest = min(quickest, openTab(browser, tab.hash, tab.seen))
			}
			b.ReportMetric(float64(quickest.Microseconds())/1000, "quickest-ms")
			if quickest > budget {
				b.Errorf("%s opens in %v, which is more than %v", tab.name, quickest, budget)
			}
		})
	}
}

// BenchmarkLargeCluster measures what the pages of a large cluster fetch, over
// a real connection.
func BenchmarkLargeCluster(b *testing.B) {
	url := serve(b, ha.RoleActive)
	for _, path := range []string{"/", "/console/app.js", "/api/v1/status", "/api/v1/instances", "/api/v1/backups?limit=50", "/api/v1/backups?limit=10000", "/api/v1/events?limit=300", "/api/v1/lags"} {
		b.Run(strings.ReplaceAll(strings.Trim(path, "/"), "/", "."), func(b *testing.B) {
			for b.Loop() {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url+path, nil)
				if err != nil {
					b.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer token")
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || n == 0 {
					b.Fatal(resp.Status, err)
				}
			}
		})
	}
}

// TestScalesHaveUnitsThatFit: no two marks of an axis read the same, and none is 0 but
// the lowest.
func TestScalesHaveUnitsThatFit(t *testing.T) {
	b := server.OpenBrowser(t, server.Desktop)
	b.Open(serve(t, ha.RoleActive))
	b.See("Sign in")
	for script, want := range map[string]string{
		"durations(0.05)":   "0 ms, 20 ms, 40 ms, 60 ms",
		"durations(2.9)":    "0 s, 1 s, 2 s, 3 s",
		"durations(290)":    "0 min, 2 min, 4 min, 6 min",
		"durations(40000)":  "0 h, 3 h, 6 h, 9 h, 12 h",
		"sizes(7300000)":    "0 MiB, 2 MiB, 4 MiB, 6 MiB, 8 MiB",
		"sizes(900)":        "0 B, 250 B, 500 B, 750 B, 1000 B",
		"sizes(5368709120)": "0 GiB, 2 GiB, 4 GiB, 6 GiB",
	} {
		if got := server.Eval[string](b, `import("/console/scale.js").then((m) => m.`+script+`.ticks.map((t) => t.text).join(", "))`); got != want {
			t.Errorf("%s: %s; want %s", script, got, want)
		}
	}
	if got := server.Eval[string](b, `import("/console/clock.js").then((m) => [0, 0.0004, 0.02, 1.5, 9.96, 100, 7000, 90000].map(m.span).join(", "))`); got != "0 s, 1 ms, 20 ms, 1.5 s, 10 s, 100 s, 117 min, 25 h" {
		t.Error(got)
	}
	if got := server.Eval[string](b, `import("/console/state.js").then((m) => ["http://a:1 is new", "this is"].map(m.upper).join(", "))`); got != "http://a:1 is new, This is" {
		t.Error(got)
	}
}

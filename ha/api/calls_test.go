package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup/seal"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/putback"
	"github.com/understudy-ha/understudy/ha/report"
)

// TestEveryCallReachesTheAgent goes through every call, the way that the
// command line makes it.
func TestEveryCallReachesTheAgent(t *testing.T) {
	s := start(t, token)
	me := socketUser(uint32(os.Getuid()))
	promote := func(req promotions.PromotionRequest) string {
		return fmt.Sprintf("by %s: %+v", me, req)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		holds              string // the answer
		call               string // on the agent
	}{
		{"GET", "/healthz", "", 200, `{"status":"ok"}`, ""},
		{"GET", "/readyz", "", 200, `{"status":"ok"}`, ""},
		{"GET", "/leader", "", 200, `"leading":true,"role":"active","epoch":3,"instance":"a","active":"a","active_url":"http://a:7878"`, ""},
		{"GET", "/metrics", "", 200, "understudy_epoch 3", ""},
		{"GET", "/api/v1/status", "", 200, `"cluster":"c"`, ""},
		{"GET", "/api/v1/instances", "", 200, `{"instances":[{"name":"a"`, "instances"},
		{"GET", "/api/v1/backups?limit=5", "", 200, `{"backups":[{"id":"` + ref(7).ID, `backups "" 5`},
		{"GET", "/api/v1/backups/" + ref(7).ID, "", 200, `"id":"` + ref(7).ID, "backup " + ref(7).ID},
		{"GET", "/api/v1/backups?before=" + ref(7).ID, "", 200, `{"backups":[]}`, fmt.Sprintf("backups %q 0", ref(7).ID)},
		{"POST", "/api/v1/backups/" + ref(7).ID + "/verify", `{"deep":true}`, 200, `{"ok":true}`, "verify " + ref(7).ID + " true"},
		{"GET", "/api/v1/lags", "", 200, `{"samples":[{"time":"2026-03-04T05:06:07Z","lags":{"b":0}}]}`, ""},
		{"GET", "/api/v1/recovery-points?hours=2", "", 200, `"backup":"` + ref(7).ID, `history "" 200`},
		{"GET", "/api/v1/recovery-points?hours=200", "", 422, "hours", ""},
		{"GET", "/api/v1/backups/x/diff?base=y", "", 200, `"changes":[{"change":"added","path":"new"`, "diff y x"},
		{"GET", "/api/v1/backups/x/diff", "", 422, "base", ""},
		{"GET", "/api/v1/windows", "", 200, `{"sources":[{"source":"db","kind":"postgres_cluster","windows":[{"since":"2026-03-04T04:06:07Z","until":"2026-03-04T05:05:07Z","epoch":3,"backup":"` + ref(7).ID + `","streams":["3-1"],"broken":"part 7 is damaged"}],"gaps":[{"from":"2026-03-04T05:05:07Z","to":"2026-03-04T05:06:07Z"}]}]}`, "windows"},
		{"GET", "/api/v1/host", "", 200, `{"bucket":"s3://b/p","key_file":"/etc/understudy/key"}`, ""},
		{"GET", "/api/v1/users", "", 200, `{"users":[]}`, ""},
		{"POST", "/api/v1/users", `{"name":"alice","role":"admin","password":"0123456789"}`, 204, "", "add user alice admin 0123456789 by " + me},
		{"POST", "/api/v1/users", `{"name":"alice","role":"owner","password":"0123456789"}`, 422, "role", ""},
		{"PUT", "/api/v1/users/alice/password", `{"password":"9876543210"}`, 204, "", "password of alice 9876543210 by " + me},
		{"PUT", "/api/v1/users/alice/password", `{"password":"short"}`, 422, "password", ""},
		{"DELETE", "/api/v1/users/alice", "", 204, "", "remove user alice by " + me},
		{"GET", "/api/v1/sessions/current", "", 200, `{"user":"` + me + `","role":"admin"}`, ""},
		{"DELETE", "/api/v1/sessions/current", "", 204, "", ""},
		{"GET", "/api/v1/backups/nope", "", 404, "nope", "backup nope"},
		{"GET", "/api/v1/history?limit=5&before=x", "", 200, `"events":[{"key":"demote/00000003.json","kind":"promotion"`, `history "x" 5`},
		{"GET", "/api/v1/history", "", 200, `"next":"n"`, `history "" 100`},
		{"GET", "/api/v1/history?limit=0", "", 422, "limit", ""},
		{"POST", "/api/v1/backups", "", 202, `{"state":"accepted"}`, `make backup soon request ""`},
		{"POST", "/api/v1/backups", `{"reason":"r","trigger":"task"}`, 202, `{"state":"accepted"}`, `make backup soon task "r"`},
		{"POST", "/api/v1/backups", `{"wait":true}`, 200, `{"state":"published","id":"` + ref(8).ID + `","epoch":3,"sequence":8`, `make backup request ""`},
		{"POST", "/api/v1/sources/accept", "", 200, `{"accepted":[{"source":"files","what":"had 100 files, has 0"}]}`, `accept []`},
		{"POST", "/api/v1/sources/accept", `{"sources":["files"]}`, 200, `"accepted"`, `accept ["files"]`},
		{"POST", "/api/v1/backups", `{"trigger":"salvage"}`, 422, "trigger", ""},
		{"POST", "/api/v1/promotions", `{"dry_run":true,"backup":"b"}`, 200, `"ok":true`, "preflight " + promote(promotions.PromotionRequest{Backup: "b", Mode: ha.ModeSwitchover, DryRun: true})},
		{
			"POST", "/api/v1/promotions", `{"backup":"b","mode":"failover","allow_version_mismatch":true,"allow_failed_rehearsal":true,"waive_salvage":true,"shown":"s","reason":"r"}`, 202, `"id":"p1","state":"running"`,
			"promote " + promote(promotions.PromotionRequest{Backup: "b", Mode: ha.ModeFailover, AllowVersionMismatch: true, AllowFailedRehearsal: true, WaiveSalvage: true, Shown: "s", Reason: "r"}),
		},
		{"POST", "/api/v1/promotions", `{"mode":"sideways"}`, 422, "mode", ""},
		{"GET", "/api/v1/promotions/p1", "", 200, `"id":"p1"`, ""},
		{"GET", "/api/v1/promotions/current", "", 200, `"id":"p1"`, ""},
		{"GET", "/api/v1/promotions/p2", "", 404, "p2", ""},
		{"DELETE", "/api/v1/promotions/p2", "", 404, "p2", ""},
		{"DELETE", "/api/v1/promotions/p1", "", 204, "", "cancel"},
		{"DELETE", "/api/v1/promotions/current", "", 204, "", "cancel"},
		{"GET", "/api/v1/recovery?without=c", "", 200, `"needed":true`, "plan-recovery [c]"},
		{"POST", "/api/v1/recovery", `{"epoch":3,"rev":4,"reason":"r"}`, 200, `"needed":true`, "recover-bucket by " + me + ": " + fmt.Sprintf("%+v", putback.RecoveryRequest{Reason: "r", Epoch: 3, Rev: 4})},
		{"GET", "/api/v1/config", "", 200, `"frequency":"5m0s"`, ""},
		{"PUT", "/api/v1/config", `{"frequency":"10m"}`, 200, `"digest":"d"`, "set frequency=10m"},
		{"PUT", "/api/v1/config", `{"frequenzy":"10m"}`, 422, "frequenzy", ""},
		{"POST", "/api/v1/instances", `{"url":"http://d:7878"}`, 204, "", "add http://d:7878"},
		{"POST", "/api/v1/instances", `{}`, 422, "url", ""},
		{"DELETE", "/api/v1/instances/b", "", 204, "", "remove b"},
		{"DELETE", "/api/v1/instances/http:%2F%2Fd:7878", "", 204, "", "remove http://d:7878"},
		{"POST", "/api/v1/schedule/pause", "", 204, "", "pause by " + me},
		{"POST", "/api/v1/schedule/pause", `{"for":"1d12h","reason":"migration"}`, 204, "", "pause by " + me + " for 36h0m0s: migration"},
		{"POST", "/api/v1/schedule/pause", `{"for":"soon"}`, 422, "soon", ""},
		{"POST", "/api/v1/schedule/pause", `{"for":"0s"}`, 422, "longer than nothing", ""},
		{"POST", "/api/v1/schedule/pause", `{"for":"1h","until":"2100-01-01T00:00:00Z"}`, 422, "either", ""},
		{"POST", "/api/v1/schedule/pause", `{"until":"2001-01-01T00:00:00Z"}`, 422, "passed", ""},
		{"GET", "/api/v1/events?kind=nothing", "", 422, "the kinds are", ""},
		{"GET", "/api/v1/events?level=nothing", "", 422, "level", ""},
		{"GET", "/api/v1/events?kind=backup,pull&level=alarm&since=2026-01-01T00:00:00Z", "", 200, `{"events":[]}`, ""},
		{"GET", "/api/v1/webhooks", "", 200, `{"webhooks":[{"id":"w1"`, "webhooks"},
		{"POST", "/api/v1/webhooks", `{"url":"https://e/h","kinds":["backup"],"levels":["alarm"]}`, 201, `"secret":"whsec_c2VjcmV0"`, "add webhook {URL:https://e/h Kinds:[backup] Levels:[alarm]}"},
		{"POST", "/api/v1/webhooks", `{"url":"https://e/h","levels":["loud"]}`, 422, "levels", ""},
		{"DELETE", "/api/v1/webhooks/w1", "", 204, "", "remove webhook w1"},
		{"POST", "/api/v1/webhooks/w1/test", "", 200, `{"delivered":true}`, "test webhook w1"},
		{"POST", "/api/v1/schedule/resume", "", 204, "", "resume by " + me},
		{"POST", "/api/v1/application/start", "", 204, "", "start by " + me},
		{"POST", "/api/v1/backups", "{", 400, "body", ""},
		{"GET", "/api/v1/nothing", "", 404, "nothing", ""},
		{"GET", "/", "", 404, "Not Found", ""},
		{"PATCH", "/api/v1/status", "", 405, "Method Not Allowed", ""},
	} {
		a := s.local(t, c.method, c.path, c.body)
		if a.status != c.status || !strings.Contains(a.body, c.holds) {
			t.Errorf("%s %s %s: %d %s; want %d and %s", c.method, c.path, c.body, a.status, a.body, c.status, c.holds)
		}
		if got := s.fake.lastCall(); got != c.call {
			t.Errorf("%s %s %s: the agent was asked %q, want %q", c.method, c.path, c.body, got, c.call)
		}
		if a.status >= 400 {
			checkProblem(t, a)
		}
	}
}

func checkProblem(t *testing.T, a answer) {
	t.Helper()
	if kind := a.header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("Content-Type of %d: %q", a.status, kind)
	}
	var p struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Errorf("problem %q: %v", a.body, err)
	}
	if p.Status != a.status || p.Title != http.StatusText(a.status) || p.Type != "about:blank" || p.Detail == "" {
		t.Errorf("problem of %d: %s", a.status, a.body)
	}
}

func TestAgentsErrorsBecomeProblems(t *testing.T) {
	s := start(t, "")
	for _, c := range []struct {
		err    error
		status int
		detail string
	}{
		{fmt.Errorf("make backup: %w", &ha.Refusal{Reason: "this instance is not the active: do it on b (http://b:7878)"}), 409, "this instance is not the active: do it on b (http://b:7878)"},
		{fmt.Errorf("check: %w", ha.ErrInvalid), 422, "check: invalid"},
		{fmt.Errorf("%w: x", control.ErrNoBackup), 404, control.ErrNoBackup.Error() + ": x"},
		{control.ErrBucket, 503, control.ErrBucket.Error()},
		{fmt.Errorf("read head.json: %w: %w", control.ErrUnverified, seal.ErrSignature), 503, "read head.json: cannot be verified: signature does not hold"},
		{&blobstore.Error{Op: "get", Key: "head.json", Kind: blobstore.ErrUnavailable}, 503, "get head.json: store unavailable"},
		{&blobstore.Error{Op: "get", Key: "x", Kind: blobstore.ErrNotFound}, 404, "get x: not found"},
		{errors.New("the disk is on fire"), 500, "the disk is on fire"},
	} {
		s.fake.fail(c.err)
		for _, call := range []string{"GET /api/v1/instances", "GET /api/v1/backups", "GET /api/v1/backups/x", "POST /api/v1/backups", "POST /api/v1/promotions", "POST /api/v1/schedule/pause", "DELETE /api/v1/instances/b"} {
			method, path, _ := strings.Cut(call, " ")
			a := s.local(t, method, path, "")
			checkProblem(t, a)
			var p struct{ Detail string }
			if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != c.status || p.Detail != c.detail {
				t.Errorf("%s with %q: %d %q, want %d", call, c.err, a.status, p.Detail, c.status)
			}
		}
	}
}

// TestABodyThatIsTooLargeIsRefused: without reading more of it than allowed.
func TestABodyThatIsTooLargeIsRefused(t *testing.T) {
	s := start(t, "")
	huge := `{"reason":"` + strings.Repeat("x", 2*maxBody) + `"}`
	for _, path := range []string{"/api/v1/backups", "/api/v1/promotions", "/api/v1/instances"} {
		a := s.local(t, "POST", path, huge)
		if a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d", path, a.status)
		}
		checkProblem(t, a)
	}
	a := s.tcp(t, "POST", "/api/v1/notifications", huge, "webhook-id", "i", "webhook-timestamp", "1", "webhook-signature", "v1,good")
	if a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("notification: %d", a.status)
	}
	if got := s.fake.lastCall(); got != "" {
		t.Errorf("the agent was asked: %s", got)
	}
}

// TestProblemsDoNotEchoWhatWasSent: a token pasted into the wrong place must
// not come back, into logs and screens.
func TestProblemsDoNotEchoWhatWasSent(t *testing.T) {
	s := start(t, "")
	for _, body := range []string{`{"mode":"s3cret"}`, `{"dry_run":"s3cret"}`, `"s3cret`} {
		if a := s.local(t, "POST", "/api/v1/promotions", body); strings.Contains(a.body, "s3cret") || a.status/100 != 4 {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}

func TestSettingsAreChangedTogether(t *testing.T) {
	s := start(t, "")
	a := s.local(t, "PUT", "/api/v1/config", `{"ttl":"20s","stop_timeout":"5s","margin":"2s"}`)
	if got := strings.Join(s.fake.calls, " "); a.status != 200 || got != "set margin=2s stop_timeout=5s ttl=20s" {
		t.Errorf("%d %s; calls: %s", a.status, a.body, got)
	}
	s.fake.invalid = fmt.Errorf("%w: ttl is too short", ha.ErrInvalid)
	a = s.local(t, "PUT", "/api/v1/config", `{"frequency":"10m","ttl":"1s"}`)
	if a.status != 422 || !strings.Contains(a.body, "too short") {
		t.Errorf("invalid: %d %s", a.status, a.body)
	}
}

func TestNotificationsNeedNothingButTheirSignature(t *testing.T) {
	s := start(t, token)
	good := []string{"webhook-id", "msg_1", "webhook-timestamp", "1700000000", "webhook-signature", "v1,good", "Content-Type", "application/json"}
	a := s.tcp(t, "POST", "/api/v1/notifications", `{"type":"understudy.wake"}`, good...)
	if a.status != http.StatusNoContent {
		t.Errorf("good: %d %s", a.status, a.body)
	}
	if got := strings.Join(s.fake.calls, " | "); got != `verified msg_1 1700000000 {"type":"understudy.wake"} | notified` {
		t.Errorf("calls: %s", got)
	}
	s.fake.lastCall()
	forged := append([]string{}, good...)
	forged[5] = "v1,bad"
	if a := s.tcp(t, "POST", "/api/v1/notifications", "{}", forged...); a.status != http.StatusUnauthorized {
		t.Errorf("forged: %d", a.status)
	}
	if a := s.tcp(t, "POST", "/api/v1/notifications", "{}"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("unsigned: %d", a.status)
	}
	if got := s.fake.lastCall(); got != "" {
		t.Errorf("a forged one had an effect: %s", got)
	}
}

// TestLeaderIsTheActiveWhoseApplicationRuns: a load balancer must send nobody
// to an instance that does not serve.
func TestLeaderIsTheActiveWhoseApplicationRuns(t *testing.T) {
	s := start(t, "")
	for _, c := range []struct {
		name   string
		change func(*report.Status)
		leads  bool
	}{
		{"leading", func(*report.Status) {}, true},
		{"standby", func(s *report.Status) { s.Role, s.Leading = ha.RoleStandby, false }, false},
		{"not confirmed", func(s *report.Status) { s.Leading = false }, false},
		{"application stopped", func(s *report.Status) { s.App = "stopped" }, false},
		{"application unknown", func(s *report.Status) { s.App = "" }, false},
		{"refused", func(s *report.Status) { s.Refused = "a clone" }, false},
		{"bucket away, application running", func(s *report.Status) { s.Bucket = "it does not answer" }, true},
		{"started on an operator's word", func(s *report.Status) { s.Leading, s.Override = false, true }, true},
	} {
		status := newFake(t).status
		c.change(&status)
		s.fake.change(func() { s.fake.status = status })
		want := http.StatusServiceUnavailable
		if c.leads {
			want = http.StatusOK
		}
		a := s.tcp(t, "GET", "/leader", "")
		if a.status != want || !strings.Contains(a.body, fmt.Sprintf(`"leading":%t`, c.leads)) {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
		if a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be cached", c.name)
		}
	}
}

func TestReadyMeansThatBucketAndKeyAreUsable(t *testing.T) {
	s := start(t, "")
	s.fake.change(func() { s.fake.status.Bucket = "read head.json: store unavailable" })
	a := s.local(t, "GET", "/readyz", "")
	checkProblem(t, a)
	if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "store unavailable") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := s.tcp(t, "GET", "/healthz", ""); a.status != http.StatusOK {
		t.Errorf("the process is up, and /healthz says %d", a.status)
	}
	if got := s.fake.lastCall(); got != "" {
		t.Errorf("the bucket was asked: %s", got)
	}
}

func TestConfigThatIsNotKnownYet(t *testing.T) {
	s := start(t, "")
	s.fake.change(func() { s.fake.status.Config = nil })
	if a := s.local(t, "GET", "/api/v1/config", ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/report"
)

// waiting is a host that waits to be set up.
type waiting struct {
	*testHost
	code string
}

var loggedCode = regexp.MustCompile(`code=([0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4})`)

// wait has a host wait to be set up.
func (h *testHost) wait() *waiting {
	h.t.Helper()
	_, log, end := h.background("serve")
	h.t.Cleanup(func() {
		if code := end(); code != exit.Done {
			h.t.Errorf("the agent ended with %d: %s", code, log)
		}
	})
	w := &waiting{testHost: h}
	h.until("prints its code", func() bool {
		found := loggedCode.FindStringSubmatch(log.String())
		if found != nil {
			w.code = found[1]
		}
		return found != nil
	})
	return w
}

// enter enters something on the page.
func (w *waiting) enter(req api.SetupRequest) (status int, answer string) {
	w.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", w.path("data/agent.sock"))
	}}}
	body, err := json.Marshal(req)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://agent/api/v1/setup", bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+w.code)
	resp, err := client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// keepsNothing checks that nothing of what was entered is in the data folder.
func (w *waiting) keepsNothing(after string) {
	w.t.Helper()
	for _, name := range []string{"data/settings.json", "data/key"} {
		if _, err := os.Lstat(w.path(name)); !errors.Is(err, fs.ErrNotExist) {
			w.t.Errorf("after %s there is %s: %v", after, name, err)
		}
	}
}

// TestASetUpThatFailsKeepsNothing, says why, and can be tried again.
func TestASetUpThatFailsKeepsNothing(t *testing.T) {
	h := newTestHosts(t, "a")[0]
	bucket, key := h.env["UNDERSTUDY_BUCKET"], h.env["UNDERSTUDY_KEY_FILE"]
	line, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"UNDERSTUDY_BUCKET", "UNDERSTUDY_KEY_FILE", "UNDERSTUDY_INSTANCE"} {
		delete(h.env, name)
	}
	w := h.wait()
	good := api.SetupRequest{
		Role: "active", Bucket: bucket, Instance: "host-a", Key: strings.TrimSpace(string(line)),
		Frequency: "5m", User: "alice", Password: "correct horse",
	}
	for name, tt := range map[string]struct {
		change func(*api.SetupRequest)
		want   string
	}{
		"no bucket's URL":     {func(r *api.SetupRequest) { r.Bucket = "nowhere" }, "bucket"},
		"a bucket of nobody":  {func(r *api.SetupRequest) { r.Bucket = "file:///dev/null/bucket" }, "/dev/null"},
		"no key":              {func(r *api.SetupRequest) { r.Key = "" }, "generate a key"},
		"a mistyped key":      {func(r *api.SetupRequest) { r.Key = r.Key[:len(r.Key)-1] + "!" }, "key"},
		"no name":             {func(r *api.SetupRequest) { r.Instance = "host a" }, "instance"},
		"no address":          {func(r *api.SetupRequest) { r.URL = "host-a:7878" }, "url"},
		"no frequency":        {func(r *api.SetupRequest) { r.Frequency = "often" }, "frequency"},
		"no user":             {func(r *api.SetupRequest) { r.User = "" }, "user"},
		"a short password":    {func(r *api.SetupRequest) { r.Password = "short" }, "password"},
		"no cluster to join":  {func(r *api.SetupRequest) { r.Role = "standby" }, "no cluster"},
		"neither of the two":  {func(r *api.SetupRequest) { r.Role = "boss" }, "role"},
		"a frequency of 1 ms": {func(r *api.SetupRequest) { r.Frequency = "1ms" }, "frequency"},
	} {
		bad := good
		tt.change(&bad)
		if status, answer := w.enter(bad); status < 400 || status >= 600 || !strings.Contains(answer, tt.want) {
			t.Errorf("%s: %d, want a problem with %q: %s", name, status, tt.want, answer)
		}
		w.keepsNothing(name)
	}
	wrong := *w
	wrong.code = "0000-0000-0000"
	if status, answer := wrong.enter(good); status != http.StatusUnauthorized {
		t.Errorf("with a wrong code: %d %s", status, answer)
	}
	if status, answer := w.enter(good); status != http.StatusOK {
		t.Fatalf("after all that: %d %s", status, answer)
	}
	h.until("the agent runs", func() bool {
		out, _, code := understudy(t, h.env, "status", "--json")
		var s report.Status
		return code == exit.Done && json.Unmarshal([]byte(out), &s) == nil && s.Instance == "host-a" && s.Leading
	})
}

// TestACommandEndsTheWait: what the page offers, init and join do as well.
func TestACommandEndsTheWait(t *testing.T) {
	hosts := newTestHosts(t, "a", "b")
	for i, command := range []string{"init", "join"} {
		h := hosts[i]
		h.wait()
		h.run(command)
		h.until("the agent runs", func() bool {
			out, _, code := understudy(t, h.env, "status", "--json")
			var s report.Status
			return code == exit.Done && json.Unmarshal([]byte(out), &s) == nil && (s.State == report.StateActive || s.State == report.StateInSync)
		})
	}
}

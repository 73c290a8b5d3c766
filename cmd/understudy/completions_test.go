package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/api"
)

// completed are the completions of the last word.
func (h *testHost) completed(words ...string) []string {
	h.t.Helper()
	out, stderr, code := understudy(h.t, h.env, append([]string{"__completeNoDesc"}, words...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != exit.Done || strings.Contains(stderr, "rror") {
		h.t.Errorf("%q: exit %d: %s%s", words, code, out, stderr)
	}
	return lines[:len(lines)-1] // the last one is for the shell
}

func TestCompletions(t *testing.T) {
	h := newTestHosts(t, "host-a")[0]
	h.run("init")
	h.serve()
	ref := ask[backup.Ref](h, "backup")
	hook := ask[api.AddedWebhook](h, "webhooks", "add", "http://127.0.0.1:1/hook")
	key := ask[[]keyJSON](h, "key", "show-id")[0].ID
	for words, want := range map[string]string{
		"config set re":               "retention reuse_window",
		"config set fencing ":         "available strict",
		"config set ttl ":             "",
		"backups show " + ref.ID[:9]:  ref.ID,
		"verify lat":                  "latest latest~1",
		"backups diff latest lat":     "latest~1",
		"restore --to /x latest ":     "",
		"backups --before lat":        "latest latest~1",
		"instances remove h":          "host-a",
		"recover-bucket --without ":   "host-a",
		"webhooks test ":              hook.ID,
		"key activate ":               key,
		"accept-change ":              "files",
		"backup --accept-change f":    "files",
		"events --kinds promotion,ba": "promotion,backup",
		"events --levels ":            "info warn alarm",
		"users add bob --role v":      "viewer",
		"status --log-level d":        "debug",
		"lifecycle a":                 "apply",
	} {
		got := h.completed(strings.Split(words, " ")...)
		if words == "backups show "+ref.ID[:9] {
			if !slices.Contains(got, want) {
				t.Errorf("%q: %q lacks %s", words, got, want)
			}
			continue
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", words, got, want)
		}
	}
	h.stop()
	if got := h.completed("verify", ""); strings.Join(got, " ") != "latest latest~1" {
		t.Errorf("without an agent: %q", got)
	}
}

// Nobody waits at a prompt for an agent that does not answer, and nothing is said.
func TestCompletionsAreQuickAndSilent(t *testing.T) {
	release := make(chan struct{})
	dir := agentAt(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer close(release)
	h := &testHost{t: t, env: map[string]string{"UNDERSTUDY_DATA_DIR": dir}}
	began := time.Now()
	if got := h.completed("instances", "remove", ""); len(got) != 0 {
		t.Errorf("completions: %q", got)
	}
	if took := time.Since(began); took > 10*completionTime {
		t.Errorf("it took %v", took)
	}
	h.env = map[string]string{"UNDERSTUDY_POLL": "wrong", "UNDERSTUDY_ENVIRONMENT_FILE": "/nowhere"}
	if got := h.completed("config", "set", "tt"); strings.Join(got, " ") != "ttl" {
		t.Errorf("with wrong settings: %q", got)
	}
}

func TestEveryUnknownWordIsAnsweredWithThoseThatThereAre(t *testing.T) {
	h := newTestHosts(t, "host-a")[0]
	h.run("init")
	h.serve()
	h.write("password", "correct horse battery\n")
	h.run("users", "add", "alice", "--password-file", h.path("password"))
	for _, tt := range []struct {
		code  int
		words string
		args  []string
	}{
		{exit.Usage, `did you mean "promote"?`, []string{"promot"}},
		{exit.Usage, `did you mean "generate"? The commands are activate, add, generate, retire, show-id`, []string{"key", "generat"}},
		{exit.Usage, `; the commands are apply, show`, []string{"lifecycle", "everything"}},
		{exit.Usage, `did you mean --data-dir?`, []string{"status", "--datadir", "/x"}},
		{exit.Usage, `did you mean "frequency"? The settings are frequency, retention`, []string{"config", "set", "frequenzy", "1m"}},
		{exit.Usage, `did you mean "files"? The sources are files`, []string{"accept-change", "file"}},
		{exit.Usage, `did you mean "files"? The sources are files`, []string{"backup", "--accept-change", "fles"}},
		{exit.Usage, `did you mean "promotion"?`, []string{"events", "--kinds", "promotoin"}},
		{exit.Usage, `did you mean "promotion"?`, []string{"webhooks", "add", "http://127.0.0.1:1", "--kinds", "promotoin"}},
		{exit.Usage, `did you mean "host-a"? The instances are host-a`, []string{"instances", "remove", "host-b"}},
		{exit.Failed, `did you mean "alice"? The users are alice`, []string{"users", "remove", "alic"}},
	} {
		h.fails(tt.code, tt.words, tt.args...)
	}
}

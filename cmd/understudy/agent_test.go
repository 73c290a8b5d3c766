package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/client"
)

// agentAt serves h at a socket in a new data folder, as an agent does.
func agentAt(t *testing.T, h http.Handler) (dataDir string) {
	t.Helper()
	dir := t.TempDir()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return dir
}

func TestAnswersStatusDecidesTheExitCode(t *testing.T) {
	for status, want := range map[int]int{
		http.StatusBadRequest:          exit.Usage,
		http.StatusUnprocessableEntity: exit.Usage,
		http.StatusNotFound:            exit.Failed,
		http.StatusConflict:            exit.Refused,
		http.StatusServiceUnavailable:  exit.Bucket,
		http.StatusInternalServerError: exit.Failed,
	} {
		dir := agentAt(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"title":"No","detail":"invalid: because of this"}`))
		}))
		_, stderr, code := understudy(t, nil, "pause", "--data-dir", dir)
		if code != want || stderr != "understudy: because of this\n" {
			t.Errorf("status %d: exit %d, want %d; stderr %q", status, code, want, stderr)
		}
	}
}

// An agent that is about to end, and one that belongs to no cluster, have no trouble
// with the bucket: for scripts the first is as none, and the second refuses.
func TestAnAgentThatCannotHelpIsNoBucketProblem(t *testing.T) {
	for kind, want := range map[string]int{client.TypeStopping: exit.Failed, client.TypeSetUp: exit.Refused, "about:blank": exit.Bucket} {
		dir := agentAt(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintf(w, `{"type":%q,"title":"No","detail":"promote: the agent is not running"}`, kind)
		}))
		for _, args := range [][]string{{"pause"}, {"status"}, {"promote", "--yes"}, {"backup"}, {"config"}} {
			if _, stderr, code := understudy(t, nil, append(args, "--data-dir", dir)...); code != want {
				t.Errorf("%s, %v: exit %d, want %d; %s", kind, args, code, want, stderr)
			}
		}
	}
}

func TestAgentThatEndsMeanwhileSaysWhatToDo(t *testing.T) {
	dir := agentAt(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	for _, args := range [][]string{{"backup"}, {"pause"}} {
		_, stderr, code := understudy(t, nil, append(args, "--data-dir", dir)...)
		if code != exit.Failed || !strings.Contains(stderr, "the agent ended") || !strings.Contains(stderr, "understudy status") {
			t.Errorf("%v: exit %d, stderr %q", args, code, stderr)
		}
	}
}

func TestInterruptedBackupSaysThatItGoesOn(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	dir := agentAt(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // before that the server does not see the client go
		interrupt()
		<-r.Context().Done()
	}))
	_, stderr, code := understudyCtx(ctx, nil, "backup", "--data-dir", dir)
	if code != exit.Interrupted || !strings.Contains(stderr, "goes on") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

func TestNoAgentSaysWhatToDo(t *testing.T) {
	_, stderr, code := understudy(t, nil, "pause", "--data-dir", t.TempDir())
	if code != exit.Failed || !strings.Contains(stderr, "understudy serve") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

func TestAgentAtURLWantsAToken(t *testing.T) {
	_, stderr, code := understudy(t, nil, "pause", "--agent", "http://127.0.0.1:1")
	if code != exit.Usage || !strings.Contains(stderr, "UNDERSTUDY_ADMIN_TOKEN") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
	env := map[string]string{"UNDERSTUDY_ADMIN_TOKEN": "token"}
	if _, stderr, code := understudy(t, env, "pause", "--agent", "127.0.0.1:1"); code != exit.Usage || !strings.Contains(stderr, "http://host:port") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

func TestAgentAtURLGetsTheToken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token" || r.URL.Path != "/api/v1/schedule/pause" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	env := map[string]string{"UNDERSTUDY_ADMIN_TOKEN": "token"}
	if _, stderr, code := understudy(t, env, "pause", "--agent", s.URL); code != exit.Done {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

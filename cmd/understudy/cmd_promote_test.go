package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

func TestPromotionIsShownStepByStep(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	idle(hosts...)
	a, b := hosts[0], hosts[1]
	a.run("init")
	a.serve()
	b.run("join")
	if again := ask[memberJSON](b, "join"); !again.Already || again.Role != ha.RoleStandby {
		t.Errorf("join again: %+v", again)
	}
	b.serve()
	ref := ask[backup.Ref](a, "backup")
	b.caches(ref.ID)
	if p := ask[promotions.Preflight](b, "promote", "--dry-run"); !p.OK || p.Backup.ID != ref.ID {
		t.Errorf("dry run: %+v", p)
	}
	b.fails(exit.Failed, "no backup", "promote", "20200101T000000Z-e00000001-s00000009-abcdef01", "--yes")
	b.fails(exit.Refused, "host-a", "backup")
	out, stderr, code := understudy(t, b.env, "promote", "--yes")
	for _, words := range []string{"Would be lost: nothing", "done  handover", "done  commit"} {
		if !strings.Contains(stderr, words) {
			t.Errorf("%q is not in %s", words, stderr)
		}
	}
	if code != exit.Done || !strings.Contains(out, "in epoch 2") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	a.until("is a standby", func() bool {
		s := ask[report.Status](a, "status")
		return s.Role == ha.RoleStandby && s.Demotion == nil
	})
	for host, role := range map[*testHost]ha.Role{a: ha.RoleStandby, b: ha.RoleActive} {
		host.stop()
		for _, verb := range []string{"init", "join"} { // as containers do that start again
			if again := ask[memberJSON](host, verb); !again.Already || again.Role != role {
				t.Errorf("%s: %+v", verb, again)
			}
		}
	}
	a.run("leave")
	if cached, err := os.ReadDir(filepath.Join(a.path("data"), "cache", "packs")); err != nil || len(cached) > 0 {
		t.Errorf("the cache holds %v: %v", cached, err)
	}
}

func TestInterruptedFollowerSaysThatThePromotionGoesOn(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	dir := agentAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = w.Write([]byte("event: step\ndata: {\"name\":\"lease\",\"took\":\"1ms\"}\n\n"))
			w.(http.Flusher).Flush()
			interrupt()
			<-r.Context().Done()
		default:
			_, _ = w.Write([]byte(`{"id":"p1","ok":true}`))
		}
	}))
	_, stderr, code := understudyCtx(ctx, nil, "promote", "--yes", "--data-dir", dir)
	if code != exit.Interrupted || !strings.Contains(stderr, "goes on") || !strings.Contains(stderr, "--cancel") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestPromotionsEndDecidesTheExitCode(t *testing.T) {
	const step = `"steps":[{"name":"lease","took":"1ms"}]`
	for name, tt := range map[string]struct {
		end    string
		status string
		code   int
		says   string
	}{
		"promoted":                      {`{"state":"promoted",` + step + `}`, `{}`, exit.Done, ""},
		"promoted, application down":    {`{"state":"promoted",` + step + `}`, `{"application_error":"exit status 3"}`, exit.Failed, "does not run (exit status 3)"},
		"rolled back":                   {`{"state":"rolled back","error":"because",` + step + `}`, ``, exit.Failed, "because"},
		"given up before anything":      {`{"state":"rolled back","error":"because"}`, ``, exit.Refused, "because"},
		"the agent stopped in between":  {``, ``, exit.Failed, "understudy serve"},
		"refused by what happened then": {`{"state":"refused","error":"because",` + step + `}`, ``, exit.Refused, "because"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := agentAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/v1/status" {
					_, _ = w.Write([]byte(tt.status))
					return
				}
				if r.Method == http.MethodGet {
					w.Header().Set("Content-Type", "text/event-stream")
					if tt.end != "" {
						_, _ = w.Write([]byte("event: end\ndata: " + tt.end + "\n\n"))
					}
					return
				}
				_, _ = w.Write([]byte(`{"id":"p1","ok":true}`))
			}))
			if _, stderr, code := understudy(t, nil, "promote", "--yes", "--data-dir", dir); code != tt.code || !strings.Contains(stderr, tt.says) {
				t.Errorf("exit %d, want %d: %s, want %q in it", code, tt.code, stderr, tt.says)
			}
		})
	}
}

// A preview of many superseded backups counts them, and names the newest.
func TestThePreviewOfManySupersededBackupsIsShort(t *testing.T) {
	p := promotions.Preflight{OK: true}
	for i := range 225 {
		p.Loss.Newer = append(p.Loss.Newer, fmt.Sprint("backup-", 225-i))
	}
	var out strings.Builder
	showPreflight(&out, p)
	if text := out.String(); strings.Count(text, "\n") > 20 || !strings.Contains(text, "superseded: backup-225\n") || !strings.Contains(text, "superseded: 215 more") {
		t.Errorf("shown: %s", text)
	}
}

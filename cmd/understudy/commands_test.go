package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/account"
	"github.com/understudy-ha/understudy/ha/api"
	"github.com/understudy-ha/understudy/ha/control"
	"github.com/understudy-ha/understudy/ha/event"
	"github.com/understudy-ha/understudy/ha/report"
)

func TestCommandsOnARunningActive(t *testing.T) {
	h := newTestHosts(t, "host-a")[0]
	h.fails(exit.Failed, "understudy serve", "status")
	made := ask[memberJSON](h, "init")
	if made.Cluster == "" || made.Role != ha.RoleActive || made.Already || len(made.Keys) != 1 {
		t.Errorf("init: %+v", made)
	}
	if again := ask[memberJSON](h, "init"); !again.Already || again.Cluster != made.Cluster {
		t.Errorf("init again: %+v", again)
	}
	h.serve()
	h.until("has its first backup", func() bool { return ask[report.Status](h, "status").LastBackup != nil })
	ref := ask[backup.Ref](h, "backup", "--reason", "why", "--trigger", "task")
	if ref.ID == "" || ref.Key == "" || ref.Digest == "" {
		t.Errorf("backup: %+v", ref)
	}
	list := ask[[]control.BackupInfo](h, "backups")
	if len(list) == 0 || list[0].Ref != ref || list[0].Reason != "why" || list[0].Trigger != backup.Task {
		t.Errorf("backups: %+v", list)
	}
	if b := ask[control.BackupInfo](h, "backups", "show", "latest"); b.ID != ref.ID {
		t.Errorf("backups show: %+v", b)
	}
	if s := ask[report.SharedConfig](h, "config", "set", "frequency", "7m"); s.Frequency != ha.Duration(7*time.Minute) {
		t.Errorf("config set: %+v", s)
	}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("correct horse\nnot this line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.fails(exit.Usage, "--password-file", "users", "add", "alice")
	h.fails(exit.Usage, "user's name", "users", "add", "Alice", "--password-file", password)
	h.fails(exit.Usage, "no role", "users", "add", "alice", "--role", "owner", "--password-file", password)
	h.run("users", "add", "alice", "--password-file", password)
	h.run("users", "add", "bob", "--role", "viewer", "--password-file", password)
	h.run("users", "password", "bob", "--password-file", password)
	h.fails(exit.Refused, "last admin", "users", "remove", "alice")
	h.run("users", "remove", "bob")
	h.fails(exit.Failed, "no such user", "users", "remove", "bob")
	if all := ask[[]api.User](h, "users"); len(all) != 1 || all[0].Name != "alice" || all[0].Role != account.Admin {
		t.Errorf("users: %+v", all)
	}
	h.run("pause", "--for", "2h", "--reason", "migration")
	if s := ask[report.Status](h, "status"); s.Paused == nil || s.Paused.Until == nil || s.PauseLeft <= 7000 {
		t.Errorf("paused: %+v", s)
	}
	if out := h.run("status"); !strings.Contains(out, "(migration), until ") {
		t.Errorf("status: %s", out)
	}
	h.fails(exit.Usage, "do not go together", "pause", "--for", "2h", "--until", "2100-01-01")
	h.fails(exit.Usage, "not a length of time", "pause", "--for", "soon")
	h.fails(exit.Usage, "passed already", "pause", "--until", "2001-01-01 06:00")
	h.run("resume")
	h.run("status", "--check")
	h.run("instances", "add", "http://127.0.0.1:1/")
	if all := ask[[]report.InstanceStatus](h, "instances"); len(all) != 2 {
		t.Errorf("instances: %+v", all)
	}
	h.run("instances", "remove", "http://127.0.0.1:1")
	if events := ask[[]event.Event](h, "events", "--limit", "3"); len(events) != 3 {
		t.Errorf("events: %+v", events)
	}
	if events := ask[[]event.Event](h, "events", "--kinds", "schedule", "--since", "1h"); len(events) != 2 || !strings.HasPrefix(events[0].By, "socket (uid ") {
		t.Errorf("events of one kind: %+v", events)
	}
	if past := ask[[]control.ClusterEvent](h, "events", "--cluster"); len(past) < 3 || past[0].Kind != "cluster" || past[len(past)-1].Reason != "why" {
		t.Errorf("events of the cluster: %+v", past)
	}
	if all := ask[[]api.Webhook](h, "webhooks"); len(all) != 0 {
		t.Errorf("webhooks: %+v", all)
	}
	hook := ask[api.AddedWebhook](h, "webhooks", "add", "http://127.0.0.1:1/hook", "--levels", "alarm")
	if !strings.HasPrefix(hook.Secret, "whsec_") {
		t.Errorf("webhooks add: %+v", hook)
	}
	h.fails(exit.Failed, "does not answer", "webhooks", "test", hook.ID)
	if out := h.run("webhooks", "list"); !strings.Contains(out, hook.ID) || strings.Contains(out, hook.Secret) {
		t.Errorf("webhooks list: %s", out)
	}
	h.run("webhooks", "remove", hook.ID)
	h.fails(exit.Failed, "no such webhook", "webhooks", "remove", hook.ID)
	h.fails(exit.Usage, "of kind", "webhooks", "add", "http://127.0.0.1:1", "--kinds", "nothing")
	h.fails(exit.Usage, "the kinds are", "events", "--kinds", "nothing")
	h.fails(exit.Usage, "neither a length of time", "events", "--since", "whenever")
	h.fails(exit.Usage, "--limit alone", "events", "--cluster", "--follow")
	if out := h.run("status"); !strings.Contains(out, "host-a *") || !strings.Contains(out, ref.ID) || strings.Contains(out, "Healthy.") ||
		!strings.Contains(out, "Nothing is wrong. To know:\n  - there is no standby") {
		t.Errorf("status: %s", out)
	}
	h.fails(exit.Usage, "neither request nor task", "backup", "--trigger", "whim")
	h.fails(exit.Usage, "reuse_window", "config", "set", "frequenzy", "1m")
	h.fails(exit.Usage, "once a minute", "config", "set", "frequency", "59s")
	h.fails(exit.Usage, "--without-bucket", "start")
	h.fails(exit.Refused, "nothing to override", "start", "--without-bucket")
	h.fails(exit.Refused, "in use", "leave")
	h.fails(exit.Usage, "--yes", "promote")
	h.fails(exit.Refused, "active already", "promote", "--dry-run")
	h.fails(exit.Usage, "alone", "promote", "--cancel", "--failover")
	h.fails(exit.Failed, `"nope"`, "backups", "show", "nope")
	if stderr, code := h.stop(); code != exit.Done || !strings.Contains(stderr, "agent stopped") {
		t.Errorf("the agent ended with exit %d: %s", code, stderr)
	}
	h.fails(exit.Refused, "promote another instance first", "leave")
	if past := ask[[]control.ClusterEvent](h, "events", "--cluster", "--limit", "1"); len(past) != 1 || past[0].Kind != "backup" {
		t.Errorf("events of the cluster without an agent: %+v", past)
	}
}

func TestAgentIsReachedOverTCPWithTheToken(t *testing.T) {
	h := newTestHosts(t, "host-a")[0]
	h.env["UNDERSTUDY_LISTEN"] = server.FreeAddress(t)
	h.env["UNDERSTUDY_ADMIN_TOKEN"] = "token"
	h.run("init")
	h.serve()
	url := "http://" + h.env["UNDERSTUDY_LISTEN"]
	away := &testHost{t: t, env: map[string]string{"UNDERSTUDY_ADMIN_TOKEN": "token", "UNDERSTUDY_DATA_DIR": t.TempDir()}}
	if s := ask[report.Status](away, "status", "--agent", url); s.Instance != "host-a" {
		t.Errorf("status: %+v", s)
	}
	away.env["UNDERSTUDY_ADMIN_TOKEN"] = "wrong"
	away.fails(exit.Failed, "admin token", "status", "--agent", url)
}

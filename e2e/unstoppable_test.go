package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
)

// acknowledged reads what an instance has signed of the end of its term.
func acknowledged(t *testing.T, bucket string, epoch uint64, instance string) ha.Ack {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(bucket, fmt.Sprintf("demote/%08d.%s.*.ack.json", epoch, instance)))
	if err != nil || len(found) != 1 {
		t.Fatalf("acknowledgements of %s: %q, %v", instance, found, err)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	var signed struct{ Payload string }
	var ack ha.Ack
	if err := json.Unmarshal(data, &signed); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(signed.Payload)
	if err == nil {
		err = json.Unmarshal(payload, &ack)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

// TestAnApplicationThatNobodyCanStop has hosts without a demote hook: nothing is said
// of their application that nobody has seen.
func TestAnApplicationThatNobodyCanStop(t *testing.T) {
	t.Parallel()
	bucket := t.TempDir()
	a, b := newCluster(t, "file://"+bucket, nil).twoFolders(t, "")
	a.fails(3, "on host-a, host-b there is nothing: configure hooks.demote", "config", "set", "fencing", "strict")
	if out := a.run("doctor"); !strings.Contains(out, "nothing but people can stop the application") {
		t.Errorf("doctor: %s", out)
	}
	_, release := squat(t, `exec 3>>"$1/written"`, a.folder()) // the application
	b.fails(3, "--application-is-stopped", "promote", "--dry-run")
	a.is(report.StateActive)
	release()
	b.run("promote", "--application-is-stopped", "--yes", "--reason", "stopped by hand")
	b.is(report.StateActive)
	a.eventually("steps down", func() error {
		if s := a.status(); s.Role != ha.RoleStandby || s.Demotion != nil {
			return fmt.Errorf("%s, %+v", s.Role, s.Demotion)
		}
		return nil
	})
	if ack := acknowledged(t, bucket, 2, "host-a"); !ack.Unstopped {
		t.Errorf("it has signed that its application has stopped: %+v", ack)
	}
	history := b.run("events", "--cluster")
	for _, want := range []string{"on the word that the application of the old active is stopped", "stopped by hand", "nothing there can stop its application"} {
		if !strings.Contains(history, want) {
			t.Errorf("the history does not say %q:\n%s", want, history)
		}
	}

	// The way back is a failover, and host-b's application runs on.
	a.rehearses()
	_, release = squat(t, `exec 3>>"$1/written"`, b.folder())
	defer release()
	if out := a.run("promote", "--failover", "--dry-run"); !strings.Contains(out, "it runs on beside the new one") {
		t.Errorf("the dry run does not say that two may run:\n%s", out)
	}
	a.run("promote", "--failover", "--yes")
	for _, h := range []*host{a, b} {
		h.eventually("says that two may run", func() error {
			if s := h.status(); !strings.Contains(strings.Join(s.Caveats, "\n"), "the application on host-b was replaced in epoch 3, and nothing there can stop it") {
				return fmt.Errorf("caveats %q", s.Caveats)
			}
			return nil
		})
	}
	b.eventually("is red for the application that still runs there", func() error {
		if s := b.status(); !strings.Contains(strings.Join(s.Problems, "\n"), "an application runs on this standby") {
			return fmt.Errorf("problems %q", s.Problems)
		}
		return nil
	})
}

// TestStrictFencingTakesNobodyWhoCannotStop has a strict cluster, and hosts that lose
// their hook or never had one.
func TestStrictFencingTakesNobodyWhoCannotStop(t *testing.T) {
	t.Parallel()
	cluster := newCluster(t, "file://"+t.TempDir(), nil)
	a, b := cluster.twoFolders(t, idleHooks)
	a.run("config", "set", "fencing", "strict")
	without := func(h *host) {
		if err := os.WriteFile(h.path("understudy.yaml"), []byte(hooked{h.app.(hooked).plain, ""}.config()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.stopAgent()
	without(b)
	const why = "the fencing of this cluster is strict"
	if r := b.try("serve"); r.code != 2 || !strings.Contains(r.errout, why) || !strings.Contains(r.errout, "configure hooks.demote") {
		t.Errorf("serve: exit %d: %s", r.code, r.errout)
	}
	c := cluster.host("host-c", hooked{newPlain(t, filepath.Join(a.dir, "c-app")), ""})
	c.fails(2, why, "join")
	c.run("join", "--exec")
	without(a)
	if err := a.agent.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	a.eventually("refuses the file", func() error {
		if s := a.status(); s.Reload == nil || s.Reload.State != report.ReloadRefused || s.Unstoppable || !strings.Contains(s.Reload.Error, why) {
			return fmt.Errorf("%+v", s.Reload)
		}
		return nil
	})
	a.is(report.StateActive)
}

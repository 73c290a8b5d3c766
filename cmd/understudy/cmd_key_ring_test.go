package main

import (
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/cmd/understudy/exit"
	"github.com/understudy-ha/understudy/ha/report"
)

func TestKeyRotationWaitsForEveryInstance(t *testing.T) {
	hosts := newTestHosts(t, "host-a", "host-b")
	a, b := hosts[0], hosts[1]
	a.run("init")
	b.run("join")
	keys := ask[[]keyJSON](a, "key", "add")
	fresh, old := keys[0].ID, keys[1].ID
	a.fails(exit.Refused, "host-a, host-b", "key", "activate", fresh)
	text, err := os.ReadFile(a.path("key"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), " ")
	b.write("new", line+"\n")
	if got := ask[[]keyJSON](b, "key", "add", "--from", b.path("new")); got[0].ID != fresh || got[0].State != "added" {
		t.Errorf("key add --from: %+v", got)
	}
	for _, h := range hosts {
		h.serve()
		h.until("it has said which keys it knows", func() bool { return ask[report.Status](h, "status").Bucket == "ok" })
		h.stop()
	}
	for _, h := range hosts {
		got := ask[[]keyJSON](h, "key", "activate", fresh)
		if got[0].State != "active" || got[1].State != "retiring" {
			t.Errorf("key activate: %+v", got)
		}
	}
	a.fails(exit.Refused, "is the active one", "key", "retire", fresh)
	a.fails(exit.Refused, "still needed", "key", "retire", old)
	for round := range 2 { // before and after the old key is retired
		a.serve()
		b.serve()
		b.caches(ask[backup.Ref](a, "backup").ID)
		if round > 0 {
			break
		}
		for _, h := range hosts {
			h.until("key retire is let", func() bool {
				a.run("status") // has the active look at the cluster
				_, _, code := understudy(t, h.env, "key", "retire", old)
				return code == exit.Done
			})
		}
		a.stop()
		b.stop()
	}
	if got := ask[[]keyJSON](b, "key", "show-id"); len(got) != 1 || got[0].ID != fresh {
		t.Errorf("after key retire: %+v", got)
	}
	if info, err := os.Stat(a.path("key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file: %v, %v", info, err)
	}
	noFile := map[string]string{"UNDERSTUDY_KEY": line}
	if _, stderr, code := understudy(t, noFile, "key", "add"); code != exit.Usage || !strings.Contains(stderr, "UNDERSTUDY_KEY_FILE") {
		t.Errorf("without a key file: exit %d: %s", code, stderr)
	}
}

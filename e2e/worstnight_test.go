package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backup"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha/report"
)

// screens are what a page is looked at on: wide and narrow, by day and by night.
var screens = []struct {
	name string
	server.Screen
}{
	{"light", server.Desktop}, {"dark", server.Night},
	{"phone", server.Screen{Width: 390, Height: 844}}, {"phone-dark", server.Screen{Width: 390, Height: 844, Dark: true}},
}

// lookEverywhere checks and keeps a page on every screen, and leaves it on the first.
func lookEverywhere(b *server.Browser, name string) {
	for _, s := range screens {
		b.Use(s.Screen)
		b.FitsWidth(name + ", " + s.name)
		look(b, name+"-"+s.name)
	}
	b.Use(server.Desktop)
}

// night is two hosts, and the people who look at them.
type night struct {
	consoleStory
}

// TestTheWorstNight walks through it in browsers: the active dies, and a standby is made
// the active by failover; what that lost is found, compared and kept; and back again. Two
// admins have pages open all the while, and both are told.
func TestTheWorstNight(t *testing.T) {
	minio := server.SharedMinIO(t)
	c := newCluster(t, minio.NewBucket(t), minio.Env())
	a, b := c.host("host-a", newPlain(t, filepath.Join(c.dir, "host-a-app"))), c.host("host-b", newPlain(t, filepath.Join(c.dir, "host-b-app")))
	a.run("init")
	a.serve()
	secret := a.path("password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.run("users", "add", "alice", "--password-file", secret)
	for _, kv := range [][2]string{{"stop_timeout", "2s"}, {"margin", "1s"}, {"ttl", "6s"}} {
		a.run("config", "set", kv[0], kv[1])
	}
	b.run("join")
	b.serve()
	b.caches(query[backup.Ref](a, "backup").ID)
	b.rehearses()
	n := &night{consoleStory{t: t, user: "alice", a: newPage(a), b: newPage(b)}}
	alice, bob := server.OpenBrowser(t, server.Desktop), server.OpenBrowser(t, screens[3].Screen)
	n.whileAllIsWell(alice)
	n.theActiveDies(alice, bob)
	n.whatWasLost(alice)
	n.back(alice, bob)
}

const submit = `document.querySelector("form.promote button[type=submit]")`

// whileAllIsWell: the answer is yes, two clicks lead to a promotion, and failover is
// marked as what it is.
func (n *night) whileAllIsWell(b *server.Browser) {
	b.Open(n.b.url)
	n.signIn(b, "This is host-b, a standby. The active is host-a.")
	b.See("Can somebody take over now?", "Yes.", "host-b can take over from host-a.", "a switchover loses nothing")
	lookEverywhere(b, "night-1-well")
	b.Click("Make host-b the active …")
	b.See("It would work now.", "Nothing is lost: host-a makes a final backup first")
	b.WaitFor("the switchover is chosen, and can be begun", `document.querySelector("[name=mode][value=switchover]").checked && !`+submit+`.disabled`)
	b.Click("Failover")
	b.See("what changed after", "host-a is alive: a switchover would lose nothing")
	b.WaitFor("failover is marked", `document.querySelector("[name=mode][value=failover]").closest(".amber") && document.querySelector(".loss-box.bad")`)
	lookEverywhere(b, "night-2-failover-while-alive")
	b.Click("Overview")
}

// theActiveDies with what no backup has. Failover is chosen then, what cannot work cannot
// be begun, and both pages tell the end.
func (n *night) theActiveDies(alice, bob *server.Browser) {
	bob.Open(n.b.url)
	n.signIn(bob, "This is host-b, a standby.")
	bob.See("Can somebody take over now?")
	file := filepath.Join(n.a.dir+"-app", "file")
	if err := os.WriteFile(file, []byte("never backed up\n"), 0o600); err != nil {
		n.t.Fatal(err)
	}
	n.a.killAgent()
	for _, b := range []*server.Browser{alice, bob} {
		b.See("by failover only", "has shown no sign of life since", "on it is lost to a failover", "The active host-a has shown no sign of life", "What to do")
	}
	lookEverywhere(alice, "night-3-dead")
	alice.Click("Make host-b the active …")
	alice.See("It would work now.", "Lost:", "host-a has shown no sign of life", "host-a cannot help", "rehearsed here")
	alice.WaitFor("failover is chosen", `document.querySelector("[name=mode][value=failover]").checked`)
	alice.WaitFor("the loss is red", `document.querySelector(".loss-box.bad")`)
	lookEverywhere(alice, "night-4-failover")
	alice.Click("Switchover")
	alice.See("It would be refused: the active host-a has shown no sign of life")
	alice.WaitFor("what would be refused cannot be begun", submit+`.disabled`)
	look(alice, "night-4-refused")
	alice.Click("Failover")
	alice.WaitFor("it can be begun", `!`+submit+`.disabled`)
	alice.Fill("Reason", "host-a is dead")
	alice.Fill("Type host-b to confirm", "host-b")
	server.Eval[bool](alice, "("+submit+".click(), true)")
	alice.See("host-b is the active now", "You are the active.", "Downtime of the application", "what changed after", "Everybody was signed out")
	lookEverywhere(alice, "night-5-promoted")
	bob.See("host-b is the active now")
	look(bob, "night-5-promoted-other-admin")
}

// whatWasLost is found on the new active once the old one runs again, with the difference.
func (n *night) whatWasLost(b *server.Browser) {
	b.Click("Sign in again")
	n.signIn(b, "This is host-b, the active.")
	b.See("host-b became the active in place of host-a, by failover, on the word of user alice", "host-a is dead")
	n.a.serve()
	n.a.is(report.StateInSync)
	b.See("host-a kept what never came here", "Salvage backup")
	b.Click("Show what is in it and not here")
	b.See("0 added, 0 removed, 1", "content")
	if text := b.Text(); !strings.Contains(text, "--bucket "+n.a.bucketOf()) && !strings.Contains(text, "--bucket '"+n.a.bucketOf()) {
		n.t.Errorf("the command that restores the salvage does not name the bucket: %s", text)
	}
	lookEverywhere(b, "night-6-salvage")
	server.Eval[bool](b, `(location.href = [...document.querySelectorAll(".help-link")].find((a) => a.href.endsWith("#what-was-lost")).href, true)`)
	b.See("Runbook", "What a failover lost")
	lookEverywhere(b, "night-7-runbook")
}

// bucketOf is the bucket that a host was told.
func (h *host) bucketOf() string {
	for _, entry := range h.env {
		if name, value, _ := strings.Cut(entry, "="); name == "UNDERSTUDY_BUCKET" {
			return value
		}
	}
	return ""
}

// back again by switchover, on a phone in the dark, while the other one looks at the host
// that is replaced.
func (n *night) back(alice, bob *server.Browser) {
	alice.Open(n.b.url)
	alice.See("Can somebody take over now?", "can take over")
	bob.Open(n.a.url)
	n.signIn(bob, "This is host-a, a standby. The active is host-b.")
	bob.See("host-a can take over from host-b.")
	bob.Click("Make host-a the active …")
	bob.See("It would work now.", "Nothing is lost: host-b makes a final backup first")
	bob.Fill("Type host-a to confirm", "host-a")
	server.Eval[bool](bob, "("+submit+".click(), true)")
	bob.See("host-a is the active now", "You are the active.", "none is needed: the old active handed over")
	bob.FitsWidth("promoted")
	look(bob, "night-8-promoted-phone")
	alice.See("Sign in", "host-a is the active now", "host-b was replaced while this page was open")
	look(alice, "night-8-replaced")
	bob.Click("Sign in again")
	n.signIn(bob, "This is host-a, the active.")
	bob.See("Nothing was lost.")
}

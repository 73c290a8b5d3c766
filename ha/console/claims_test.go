package console_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
)

// say has the page believe that the agent's status is another one from now on.
func say(b *server.Browser, s report.Status) {
	text, _ := json.Marshal(s)
	server.Eval[bool](b, fmt.Sprintf(`((answer) => {
	  const through = window.through ??= window.fetch;
	  window.fetch = (path, ...rest) => path === "api/v1/status" ? Promise.resolve(new Response(answer, { headers: { "Content-Type": "application/json" } })) : through(path, ...rest);
	  return true;
	})(%q)`, text))
}

// ownBadges are the header's badges: each its tone and its text.
const ownBadges = `[...document.querySelectorAll(".identity .badge")].map((e) => e.className.replace("badge", "").trim() + ":" + e.textContent).join(", ")`

// TestNothingIsGreenBesideADeadActive: what the header, the cards, the table and Make
// Active say of the active, and of the standby that is in sync with it, is no more than
// has been seen. Whoever is at a link of the overview is told as well, and stays there.
func TestNothingIsGreenBesideADeadActive(t *testing.T) {
	large := newLarge(t, ha.RoleStandby)
	b := server.OpenBrowser(t, server.Desktop)
	b.Open(serveOne(t, large))
	signIn(b)
	b.WaitFor("in sync with an active that lives", ownBadges+` === ":Standby, good:in sync"`)
	b.See("host-01 can take over from host-00.", "seen 3 s ago")
	server.Eval[bool](b, `(document.querySelector("#overview-answer a").focus(), true)`)

	unseen := large.status
	unseen.HeadAlive = false
	say(b, unseen)
	b.WaitFor("whether the active lives is not known", ownBadges+` === ":Standby, warn:in sync" && document.querySelector("#overview-cards .card .warn")?.textContent === "not known whether it is alive"`)
	openTab(b, "make-active", "It would work now.")
	b.Click("Failover")
	b.See("Whether host-00 is alive is not known.", "which is not known to be dead")
	openTab(b, "instances", "host-49")
	b.WaitFor("the active is not green", `document.querySelector("tbody tr .warn")?.textContent === "active"`)
	openTab(b, "overview", "What to do next")
	server.Eval[bool](b, `(document.querySelector("#overview-answer a").focus(), true)`)

	dead := unseen
	dead.HeadAge = 300
	say(b, dead)
	b.See("host-01 can take over, by failover only.", "no sign of life for 5 min", "has shown no sign of life since")
	b.WaitFor("nothing green of the active, and the focus is where it was", ownBadges+` === ":Standby, warn:in sync" && document.querySelector("#overview-answer .danger") === document.activeElement`)
	b.Shoot("claims-dead")

	server.Eval[bool](b, `(window.fetch = () => Promise.reject(new Error("cut")), true)`)
	b.See("The agent does not answer", "may be old")
	b.WaitFor("nothing is said of an agent that does not answer", ownBadges+` === "warn:not known now"`)
	b.Accessible("no answer")
	b.Shoot("claims-no-answer")
}

// TestTheAnswerIsByWhatWasLookedAt: who could take over, of statuses that differ in one
// thing from one in which the answer is yes.
func TestTheAnswerIsByWhatWasLookedAt(t *testing.T) {
	standby, active := newLarge(t, ha.RoleStandby).status, newLarge(t, ha.RoleActive).status
	active.Instances = active.Instances[:2] // host-00, the active, and host-01
	failed := []ha.Rehearsal{{Backup: standby.LastBackup.ID, Time: then, Result: ha.RehearsalFailed, Error: "the probe said no"}}
	self := func(s *report.Status) *report.InstanceStatus { return &s.Instances[1] }
	b := server.OpenBrowser(t, server.Desktop)
	b.Open(serve(t, ha.RoleActive))
	b.See("Sign in")
	for name, test := range map[string]struct {
		of     report.Status
		change func(*report.Status)
		want   string
	}{
		"standby":                 {standby, func(*report.Status) {}, "Yes. host-01 can take over from host-00."},
		"nobody has looked":       {standby, func(s *report.Status) { s.Ready = false }, "Unknown."},
		"the bucket was not read": {standby, func(s *report.Status) { s.Bucket = ha.NotRead; s.Outlook = "not now: the bucket cannot be used" }, "Not this one."},
		"rehearsal failed":        {standby, func(s *report.Status) { self(s).State, self(s).Rehearsals = report.StateRehearsalFailed, failed }, "Not this one. host-01 could not restore"},
		"an older one failed":     {standby, func(s *report.Status) { self(s).State = report.StateRehearsalFailed }, "Yes, more slowly."},
		"another takes over": {standby, func(s *report.Status) {
			s.Head = handedTo(s.Head, "host-02")
			s.Outlook = "not now: host-02 is taking over"
		}, "Not this one. Not now: host-02"},
		"active":                   {active, func(*report.Status) {}, "Yes. host-01 can take over."},
		"records not read":         {active, func(s *report.Status) { s.InstancesAge = -1 }, "Unknown."},
		"old records":              {active, func(s *report.Status) { s.InstancesAge = 600 }, "Unknown."},
		"its host not looked at":   {active, func(s *report.Status) { self(s).Ready = false }, "Unknown."},
		"unreachable":              {active, func(s *report.Status) { self(s).State = report.StateUnreachable + " since 2026-03-04T04:00:00Z" }, "Unknown."},
		"its rehearsal has failed": {active, func(s *report.Status) { self(s).State, self(s).Rehearsals = report.StateRehearsalFailed, failed }, "No."},
		"no standby":               {active, func(s *report.Status) { s.Instances = s.Instances[:1] }, "No. There is no standby."},
		"no backup":                {active, func(s *report.Status) { s.LastBackup = nil }, "No. There is no backup yet."},
	} {
		before, s := test.of, test.of
		s.Instances = append([]report.InstanceStatus(nil), s.Instances...)
		test.change(&s)
		answers := func(s report.Status) (text, key string) {
			status, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			got := server.Eval[[]string](b, fmt.Sprintf(`import("/console/answer.js").then((m) => [m.answer(%[1]s, { admin: true }).querySelector("h2").textContent, m.answerKey(%[1]s)])`, status))
			return got[0], got[1]
		}
		old, oldKey := answers(before)
		text, key := answers(s)
		if !strings.HasPrefix(text, test.want) {
			t.Errorf("%s: %s", name, text)
		}
		if old != text && oldKey == key {
			t.Errorf("%s: the answer has changed, and would not be drawn again", name)
		}
	}
}

func handedTo(h *ha.Head, name string) *ha.Head {
	other := *h
	other.Handover = &ha.Handover{To: ha.Peer{Name: name}, State: ha.Preparing}
	return &other
}

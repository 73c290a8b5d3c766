package console_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/promotions"
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
	onEveryScreen(b, "claims-dead")

	server.Eval[bool](b, `(window.fetch = () => Promise.reject(new Error("cut")), true)`)
	b.See("The agent does not answer", "may be old")
	b.WaitFor("nothing is said of an agent that does not answer", ownBadges+` === "warn:not known now"`)
	onEveryScreen(b, "claims-no-answer")
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

// TestAPromotionOfSomebodyElse is shown on any page: its stages, and the cause of a wait.
// Whoever loses its stream is told so, and is not left with what was so before.
func TestAPromotionOfSomebodyElse(t *testing.T) {
	large := newLarge(t, ha.RoleStandby)
	large.running = map[string]promotions.PromotionStatus{"p1": {
		ID: "p1", State: promotions.PromotionRunning, Mode: ha.ModeFailover, Phase: ha.PhaseFinish, Steps: []ha.Step{{Name: "restore", Took: ha.Duration(90 * time.Second), Time: then}},
		Waiting: &report.Wait{For: "host-00 to say that its application has stopped", Seconds: 40},
	}}
	b := server.OpenBrowser(t, server.Desktop)
	b.Open(serveOne(t, large))
	signIn(b)
	begun := large.status
	begun.Promotion = &ha.Promotion{ID: "p1", Mode: ha.ModeFailover, Phase: ha.PhaseFinish, By: "user bob"}
	say(b, begun)
	b.See("host-01 is being made the active on the word of user bob.", "host-01 is being made the active.")
	b.Shoot("claims-somebody-else")
	b.Click("See how far it is")
	b.See("On the word of user bob.", "It waits for host-00 to say that its application has stopped, for 40 s at most.")
	stages := server.Eval[string](b, `[...document.querySelectorAll(".stepper > li")].map((e) => e.className + ":" + e.innerText.split(/\s+/).join(" ")).join("; ")`)
	if n := strings.Count(stages, "done:"); n != 4 || !strings.Contains(stages, "Restore and verify (done) 90 s") || !strings.Contains(stages, "now:● Wait for the old active's application, and start it here (under way)") || strings.Contains(stages, "Hand over") {
		t.Errorf("the stages: %s", stages)
	}
	onEveryScreen(b, "claims-under-way")

	openTab(b, "overview", "What to do next")
	begun.Promotion = &ha.Promotion{ID: "p2", Mode: ha.ModeFailover, Phase: ha.PhaseRestore, By: "user bob"} // the agent knows no such one
	say(b, begun)
	b.WaitFor("the page says that it is old", `document.querySelector("header .notice.bad")?.textContent.includes("The connection was lost.") && document.querySelector("main[data-stale]") && `+ownBadges+` === "warn:not known now"`)
}

// TestTheNewestIsChosenBelowSalvages: the backups that are shown first may all be salvages,
// which no promotion takes unless somebody says so.
func TestTheNewestIsChosenBelowSalvages(t *testing.T) {
	large := newLarge(t, ha.RoleStandby)
	for i := range large.backups[:4] {
		large.backups[i].Salvage, large.backups[i].Newest = true, false
	}
	large.backups[4].Newest = true
	large.status.LastBackup, large.status.Staged = &large.backups[4].Ref, ""
	url := serveOne(t, large)
	b := server.OpenBrowser(t, server.Desktop)
	b.Open(url)
	signIn(b)
	openTab(b, "make-active", "It would work now.")
	b.WaitFor("the newest one is chosen, below three salvages", fmt.Sprintf(`document.querySelectorAll("[name=backup]").length === 4 && document.querySelector("[name=backup]:checked").value === %q`, large.backups[4].ID))
	onEveryScreen(b, "claims-salvages")
	b.Click("Show older backups")
	b.WaitFor("the newest one stays", fmt.Sprintf(`document.querySelectorAll("[name=backup]").length > 4 && document.querySelector("[name=backup]:checked").value === %q`, large.backups[4].ID))

	// One salvage alone, and a newest one that cannot be read: none is chosen, and none is asked for.
	record(b)
	openTab(b, "overview", "What to do next")
	server.Eval[bool](b, `((through) => {
	  window.fetch = (path, ...rest) => path.startsWith("api/v1/backups?") ? through("api/v1/backups?limit=1") : path.startsWith("api/v1/backups/") ? Promise.reject(new Error("cut")) : through(path, ...rest);
	  return true;
	})(window.fetch)`)
	openTab(b, "make-active", "It would work now.")
	if sent := server.Eval[string](b, `window.sent.filter((s) => s.startsWith("api/v1/promotions")).at(-1)`); !strings.Contains(sent, `"mode":"switchover"`) || strings.Contains(sent, "backup") {
		t.Errorf("asked for %s", sent)
	}
}

// record notes what the page asks for.
func record(b *server.Browser) {
	server.Eval[bool](b, `((through) => {
	  window.sent = [];
	  window.fetch = (path, options) => { window.sent.push(path + " " + (options?.body ?? "")); return through(path, options); };
	  return true;
	})(window.fetch)`)
}

// TestBackupsAreFoundAndCompared by what people type, and the older one is what the newer
// one is compared with, whichever was chosen first.
func TestBackupsAreFoundAndCompared(t *testing.T) {
	large := newLarge(t, ha.RoleActive)
	b := server.OpenBrowser(t, server.Desktop)
	b.Open(serveOne(t, large))
	signIn(b)
	openTab(b, "backups", "50 shown")
	const rows = `[...document.querySelectorAll("main tbody tr")]`
	b.Fill("Search (id, reason, instance)", "Create Universe")
	b.WaitFor("those of that reason", rows+`.length === 6 && `+rows+`.every((r) => r.innerText.includes("create universe prod-7"))`)
	b.See("6 of the 50 that are loaded; older ones are not searched until they are.")
	b.Fill("Search (id, reason, instance)", "no such")
	b.See("None of those that are loaded.")
	b.Fill("Search (id, reason, instance)", "")
	server.Eval[bool](b, `((e) => { e.value = "kept"; e.dispatchEvent(new Event("change")); return true; })(document.querySelector("main select"))`)
	b.WaitFor("those that are rehearsed", rows+`.length === 3 && `+rows+`.every((r) => r.innerText.includes("passed"))`)
	record(b)
	server.Eval[bool](b, `([...document.querySelectorAll("main tbody [type=checkbox]")].slice(0, 2).forEach((e) => e.click()), true)`) // the newer one first
	b.Click("Compare two")
	b.WaitFor("the comparison", `document.querySelector("dialog .difference")`)
	b.See("1 (2\u00a0KiB) added", "public.orders")
	want := fmt.Sprintf("api/v1/backups/%s/diff?base=%s", large.backups[0].ID, large.backups[1].ID)
	if sent := server.Eval[[]string](b, `window.sent.map((s) => s.trim())`); !slices.Contains(sent, want) {
		t.Errorf("asked for %q; want %s", sent, want)
	}
	b.Shoot("claims-compared")
}

// TestTimesAndValuesAreReadAsAskedFor: times in UTC where that is chosen, also after a
// reload; the value under the pointer; and no length of time where none is known.
func TestTimesAndValuesAreReadAsAskedFor(t *testing.T) {
	large := newLarge(t, ha.RoleActive)
	b := server.OpenBrowser(t, server.Desktop)
	b.Open(serveOne(t, large))
	signIn(b)
	b.See("What to do next")
	inUTC := then.Format("2006-01-02 15:04:05") + " UTC"
	times := fmt.Sprintf(`[...document.querySelectorAll("#overview-tiles time:not([data-ago])")].map((e) => [e.title, e.textContent].join()).join() === "%[1]s,%[1]s"`, inUTC)
	b.WaitFor("the reader's zone, and UTC on hover", fmt.Sprintf(`document.querySelector("#overview-tiles time:not([data-ago])").title === %q && !(%s)`, inUTC, times))
	server.Eval[bool](b, `([...document.querySelectorAll("header button")].find((e) => e.textContent.startsWith("Times:")).click(), true)`)
	b.WaitFor("UTC", times)
	b.See("Times: UTC")
	b.Open(server.Eval[string](b, `location.href`))
	b.See("Times: UTC", "What to do next")
	b.WaitFor("UTC after a reload", times)
	b.See("unreachable since 2026-03-04 04:00:00 UTC") // in a card

	b.WaitFor("the plot", `document.querySelector("#overview-plot svg")`)
	under := func(part float64) string {
		return server.Eval[string](b, fmt.Sprintf(`((plot) => {
		  const box = plot.getBoundingClientRect();
		  plot.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width * %v, clientY: box.top + 40, bubbles: true }));
		  return document.querySelector("#overview-plot .readout").textContent;
		})(document.querySelector("#overview-plot svg[role=img]"))`, part))
	}
	if text := under(.5); !regexp.MustCompile(`\d+ (s|min) old`).MatchString(text) {
		t.Errorf("under the pointer: %q", text)
	}
	if text := under(0.0); !strings.Contains(text, "old") && !strings.Contains(text, "not known") {
		t.Errorf("at the left edge: %q", text)
	}
	if got := server.Eval[string](b, `Promise.all([import("/console/rehearsal.js"), import("/console/clock.js")]).then(([r, c]) => [r.tookIn({ took: "0s" }), r.tookIn({}), r.tookIn({ took: "1m30s" }), c.span(c.goDuration("850.5µs")), c.goDuration("1h0m1.5s")].join("|"))`); got != "|| in 90 s|1 ms|3601.5" {
		t.Errorf("lengths of time: %s", got)
	}
}

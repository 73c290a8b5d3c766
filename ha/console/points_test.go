package console_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/report"
)

// points are recovery points of a database whose log is shipped, of one whose log is not, and
// of a folder.
func points() []report.SourcePoint {
	now := time.Now()
	return []report.SourcePoint{
		{Source: "db", Stream: "3-1", Time: now.Add(-400 * time.Millisecond), Age: .4},
		{Source: "ledger", Time: now.Add(-5 * time.Minute), Age: 300, Lacks: "no backup leads up to stream 3-1 yet"},
		{Source: "uploads", Time: now.Add(-5 * time.Minute), Age: 300},
	}
}

// TestTheRecoveryPointOfEachSourceIsShown: in the answer and in the tile; a log is green only
// where it counts and goes on.
func TestTheRecoveryPointOfEachSourceIsShown(t *testing.T) {
	large := newLarge(t, ha.RoleStandby)
	large.status.Recovery = points()
	b := server.OpenBrowser(t, server.Desktop)
	b.Open(serveOne(t, large))
	signIn(b)
	b.See("the recovery point of each source (db 400 ms ago; ledger 5 min ago (backup); uploads 5 min ago (backup)) would be lost by a failover", "no backup leads up to stream 3-1 yet")
	const badges = `[...document.querySelectorAll("#overview-tiles .points .badge")].map((e) => e.className.replace("badge", "").trim() + ":" + e.textContent).join(", ")`
	b.WaitFor("green is the log that goes on, and nothing else", badges+` === "good:log, warn:backup, :backup"`)
	onEveryScreen(b, "points")

	late := large.status
	late.Recovery = points()
	late.Recovery[0].Time, late.Recovery[0].Age = time.Now().Add(-3*time.Minute), 180
	say(b, late)
	b.WaitFor("a log that does not come through is red", badges+`.startsWith("bad:log")`)
	b.See("db 3 min ago;")
	late.Recovery = points()
	late.Recovery[0].Lacks = "not confirmed to it yet"
	say(b, late)
	b.WaitFor("one that is not confirmed is amber", badges+`.startsWith("warn:log")`)

	failover := server.Eval[string](b, fmt.Sprintf(`import("/console/loss.js").then((m) => { const p = document.createElement("p"); p.append(...[m.lossOf({ mode: "failover", backup: { time: %q }, loss: { sources: [{ source: "db", stream: "3-1", time: %[1]q, age_seconds: 2 }, { source: "uploads", time: %[1]q, age_seconds: 2 }] } }, { active: "host-00" })].flat(9)); return p.textContent; })`, time.Now().Format(time.RFC3339Nano)))
	if !strings.HasPrefix(failover, "what changed after the recovery point of each source on host-00: db 2 s ago; uploads ") {
		t.Error(failover)
	}
}

// TestTheAgesOfLogsArePlotted on the active, which measures them, with a hole where nothing
// was known; a standby says where they are.
func TestTheAgesOfLogsArePlotted(t *testing.T) {
	active := newLarge(t, ha.RoleActive)
	active.status.Recovery = points()
	b := server.OpenBrowser(t, server.Desktop)
	b.Open(serveOne(t, active))
	signIn(b)
	b.See("Age of the recovery point of each log, as this process has seen it", "db: now", "from 400 ms to")
	b.WaitFor("a line with a hole", `(document.querySelector("#overview-plot .plot path.line-0")?.getAttribute("d").match(/M/g) ?? []).length === 2`)
	onEveryScreen(b, "points-active")

	standby := newLarge(t, ha.RoleStandby)
	standby.status.Recovery = points()
	b.Open(serveOne(t, standby))
	signIn(b)
	b.See("How old the recovery point of a log was is measured on the active, and plotted there.")
}

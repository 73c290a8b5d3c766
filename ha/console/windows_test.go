package console_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backup/stream"
	"github.com/understudy-ha/understudy/blobstore"
	"github.com/understudy-ha/understudy/e2e/server"
	"github.com/understudy-ha/understudy/ha"
	"github.com/understudy-ha/understudy/ha/moments"
	"github.com/understudy-ha/understudy/ha/promotions"
	"github.com/understudy-ha/understudy/ha/report"
)

// recorded is an agent of a cluster with two servers: one with gaps of hours and of seconds,
// and one whose log cannot be read to its end.
func recorded(tb testing.TB, role ha.Role) *large {
	tb.Helper()
	a := newLarge(tb, role)
	for i := range a.backups {
		for n := range a.backups[i].Sources {
			a.backups[i].Sources[n].Kind = "postgres_cluster"
		}
	}
	now := time.Now().UTC()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const day = 24 * time.Hour
	a.windows = []moments.Source{
		{Name: "db", Kind: "postgres_cluster", Windows: []moments.Window{
			{Since: ago(6 * day), Until: ago(5 * day), Epoch: 1, Backup: a.backups[40].ID},
			{Since: ago(4*day + 6*time.Hour), Until: ago(2 * day), Epoch: 2, Backup: a.backups[20].ID, Streams: []stream.ID{{Epoch: 2, N: 1}}},
			{Since: ago(2*day - 40*time.Second), Until: ago(20 * time.Hour), Epoch: 3, Backup: a.backups[9].ID, Streams: []stream.ID{{Epoch: 3, N: 1}}},
			{Since: ago(21 * time.Hour), Until: ago(2 * time.Second), Epoch: 3, Backup: a.backups[0].ID, Streams: []stream.ID{{Epoch: 3, N: 1}, {Epoch: 3, N: 2}}},
		}, Gaps: []moments.Gap{{From: ago(5 * day), To: ago(4*day + 6*time.Hour)}, {From: ago(2 * day), To: ago(2*day - 40*time.Second)}}},
		{Name: "ledger", Kind: "postgres_cluster", Windows: []moments.Window{
			{Since: ago(3 * time.Hour), Until: ago(time.Hour), Epoch: 3, Backup: a.backups[0].ID, Broken: "part 17 of stream 3-1 of source ledger is damaged"},
		}},
	}
	return a
}

// TestTheMomentsThatCanBeRestoredAreShown: a bar for each source, filled where a moment can
// be reached, with each gap named, and the newest recovery point where the log ends.
func TestTheMomentsThatCanBeRestoredAreShown(t *testing.T) {
	large := recorded(t, ha.RoleActive)
	b := server.OpenBrowser(t, server.Desktop)
	b.Open(serveOne(t, large))
	signIn(b)
	openTab(b, "backups", "Moments that can be restored")
	b.See("db", "but for 2 gaps", "(18 h): no moment in it can be reached", "(40 s): no moment in it can be reached", "Newest recovery point: ",
		"ledger", "Nothing after", "part 17 of stream 3-1 of source ledger is damaged")
	const first = `document.querySelector(".windows svg")`
	b.WaitFor("four windows are filled", first+`?.querySelectorAll("rect.window").length === 4`)
	b.WaitFor("both gaps can be seen, and are named", `((all) => all.length === 2 && all.every((g) => g.getBoundingClientRect().width >= 3))([...`+first+`.querySelectorAll("rect.gap")]) && `+first+`.querySelectorAll(".gap-name").length === 2`)
	b.WaitFor("the newest recovery point is at the end", `Math.abs(Number(`+first+`.querySelector("circle").getAttribute("cx")) - Math.max(...[...`+first+`.querySelectorAll("rect.window")].map((r) => Number(r.getAttribute("x")) + Number(r.getAttribute("width"))))) < .5`)
	for where, want := range map[string]string{"rect.gap": "in a gap: cannot be reached", "rect.window": "can be restored, epoch 1"} {
		server.Eval[bool](b, fmt.Sprintf(`((svg) => { const r = svg.querySelector(%q).getBoundingClientRect(); return svg.dispatchEvent(new PointerEvent("pointermove", { clientX: r.x + r.width / 2, clientY: r.y + 2 })); })(%s)`, where, first))
		b.See(want)
	}
	if label := server.Eval[string](b, first+`.getAttribute("aria-label")`); !strings.Contains(label, "db can be brought to any moment from ") || !strings.Contains(label, "but for 2 gaps") {
		t.Error(label)
	}
	b.Click("Restore a moment of db by hand")
	b.See("understudy restore --time 20", "--bucket 's3://acme-backups/shop?region=eu-central-1' --key-file /etc/understudy/key")
	onEveryScreen(b, "windows")

	later := large.status
	later.Recovery = []report.SourcePoint{{Source: "db", Stream: "3-2", Time: time.Now().Add(time.Hour), Age: .25}, {Source: "ledger", Stream: "3-9", Time: time.Now().Add(time.Hour), Age: .5}}
	say(b, later)
	b.See("Newest recovery point: 300 ms ago.")
	if text := b.Text(); strings.Contains(text, "Newest recovery point: 500 ms ago") {
		t.Error("a stream that no window goes on with is taken for the newest")
	}
}

// TestWindowsThatAreNotKnown are said to be so; where no source has a log that has times, the
// bucket is asked for none.
func TestWindowsThatAreNotKnown(t *testing.T) {
	large := recorded(t, ha.RoleActive)
	large.windowsErr = &blobstore.Error{Op: "list", Key: "streams/", Kind: blobstore.ErrUnavailable, Err: errors.New("cut off")}
	b := server.OpenBrowser(t, server.Desktop)
	b.Open(serveOne(t, large))
	signIn(b)
	openTab(b, "backups", "Moments that can be restored")
	b.See("Unknown.", "cut off")

	none := newLarge(t, ha.RoleActive)
	none.windowsErr = errors.New("nobody is to ask")
	b.Open(serveOne(t, none))
	signIn(b)
	openTab(b, "backups", "50 shown")
	b.Click("Show older backups")
	b.See("100 shown")
	if text := b.Text(); strings.Contains(text, "Moments that can be restored") {
		t.Error(text)
	}
}

// TestAMomentIsChosenToPromoteTo: Make Active says what it would lose, and refuses one that
// cannot be reached; a promotion that is under way says where it goes.
func TestAMomentIsChosenToPromoteTo(t *testing.T) {
	large := recorded(t, ha.RoleStandby)
	at := then.Add(-time.Hour)
	large.running = map[string]promotions.PromotionStatus{"p1": {ID: "p1", State: promotions.PromotionRunning, Mode: ha.ModeFailover, Phase: ha.PhaseEnd, Moment: &at}}
	b := server.OpenBrowser(t, server.Desktop)
	b.Open(serveOne(t, large))
	signIn(b)
	openTab(b, "make-active", "It would work now.")
	const choose = `((at) => { const i = document.querySelector("[name=moment]"); const two = (n) => String(n).padStart(2, "0"); i.value = at.getFullYear() + "-" + two(at.getMonth() + 1) + "-" + two(at.getDate()) + "T" + two(at.getHours()) + ":" + two(at.getMinutes()) + ":" + two(at.getSeconds()); return i.dispatchEvent(new Event("change", { bubbles: true })); })(new Date(%q))`
	b.See("Or a moment, in the time zone of this browser")
	server.Eval[bool](b, fmt.Sprintf(choose, at.Format(time.RFC3339)))
	b.See("Lost: what came after", "in db, and after backup", "Each source would come back up to:")
	b.WaitFor("the moment is marked, and is no warning", `[...document.querySelectorAll(".points .badge")].map((e) => e.className.replace("badge", "").trim() + ":" + e.textContent).join(", ") === ":moment, :backup"`)
	if loss := server.Eval[string](b, `document.querySelector(".loss-box").className`); strings.Contains(loss, "good") {
		t.Errorf("a switchover to a moment is said to lose nothing: %s", loss)
	}
	onEveryScreen(b, "moment")
	server.Eval[bool](b, fmt.Sprintf(choose, then.Add(time.Hour).Format(time.RFC3339)))
	b.See("It would be refused.", "Source db cannot be brought to")
	b.WaitFor("the button cannot be used", `document.querySelector("form.promote button[type=submit]").disabled`)

	goes := large.status
	goes.Promotion = &ha.Promotion{ID: "p1", By: "user bob", Phase: ha.PhaseEnd}
	say(b, goes)
	b.See("To the moment", at.UTC().Format("2006-01-02T15:04:05Z"))
	b.WaitFor("the end of the streams is a stage", `document.querySelector(".stepper .now")?.textContent.includes("Restore and verify")`)
}

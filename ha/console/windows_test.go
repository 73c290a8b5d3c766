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
